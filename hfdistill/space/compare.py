"""One question, put to teacher and students at once, each in its own lane, and judged by the reward model."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from functools import partial

from ..errors import HFDistillError
from ..evaluation.paper_rows import BASE, PAPER_ROWS, TEACHER
from ..kinds import REWARD
from ..labels.vote import Vote
from ..reward.distilled import distilled_reward
from ..tasks import Question
from .lanes import Stopped, in_thread
from .models import Models, ShownAnswer, read, scores
from .run import ShownRun
from .visitors import NO_TEACHER, ForVisitors, told


LONGEST_QUESTION = 8000  # characters; the models' own limit, in tokens, is checked when they are asked
NOT_ASKED = (
    "Was not asked this question while the run was made, and does not answer live here. The run's own questions have "
    "an answer."
)
NOT_STORED = (
    "No model answers live on this page, and this question is not among the stored ones: pick one of the run's, or "
    "look through all of them under Explore."
)
LOADS = "Loads the model; the first time this takes a while …"
NOT_LOADED = "This model cannot be loaded here now."
NOT_SCORED = "The reward model cannot be loaded here now."
STORED = "{}, as it answered in the evaluation"
FRAME, HEARTBEAT = 0.1, 1.0  # seconds between two looks at what is written, and the longest


@dataclass
class Column:
    """What one model says.

    Attributes:
        role (`str`): `"teacher"`, `"student"`, `"warmup"` or `"policy"`.
        title (`str`), what (`str`): who this is, in words.
        ref (`str`): where the model is.
        state (`str`): `"waiting"`, `"working"`, `"done"`, `"absent"`, `"failed"` or `"stopped"`.
        note (`str`): what it is doing, or what went wrong.
        samples (`list[ShownAnswer]`): its answers.
        draft (`str`): what it has written so far.
        row (`str`): its row in the results.
    """

    role: str
    title: str
    what: str
    ref: str
    state: str = "waiting"
    note: str = "Waits for its turn"
    samples: list[ShownAnswer] = field(default_factory=list)
    draft: str = ""
    row: str = ""


@dataclass
class Comparison:
    """Everything shown for one question; it fills up while the models answer.

    Attributes:
        question ([`~hfdistill.tasks.Question`]): what was asked.
        vote ([`~hfdistill.labels.vote.Vote`], *optional*): of the teacher, for a question of the training.
        gold (`str`, *optional*): right answer, where the question was part of the evaluation.
        columns (`list[Column]`): teacher first, then the students in the order of their making.
        scoring (`str`): state of the reward model, one of a column's.
        scoring_note (`str`): what it is doing, or what went wrong.
        variant (`str`): of Eq. 7.
        unknown_words (`list[str]`): words of the question that the students cannot read.
        stored_only (`bool`): whether no model answers live.
    """

    question: Question
    vote: Vote | None
    gold: str | None
    columns: list[Column]
    scoring: str = "waiting"
    scoring_note: str = ""
    variant: str = "min"
    unknown_words: list[str] = field(default_factory=list)
    stored_only: bool = False

    def samples(self) -> list[ShownAnswer]:
        """The answers of all columns."""
        return [sample for column in self.columns for sample in column.samples]


async def compare(
    run: ShownRun,
    models: Models,
    text: str | None,
    temperature: float = 0.0,
    samples: int = 1,
    stop: asyncio.Event | None = None,
) -> AsyncIterator[Comparison]:
    """Ask everybody at once; yields the same comparison again whenever there is more to show, and each second.

    A model that fails or hangs leaves the others alone. Who stops looking stops the work.

    Args:
        run ([`~hfdistill.space.run.ShownRun`]): whose models are asked.
        models ([`~hfdistill.space.models.Models`]): those in memory.
        text (`str`): the question.
        temperature (`float`, *optional*, defaults to 0): of all models; 0 is greedy.
        samples (`int`, *optional*, defaults to 1): answers of each model at a temperature above 0.
        stop (`asyncio.Event`, *optional*): ends the work with what is there, once it is set.

    Raises:
        [`~hfdistill.space.visitors.ForVisitors`]: if the question is empty or too long, or nothing can answer it.
    """
    question = await asyncio.to_thread(_question, run, text)
    asking = _Asking(run, models, question, temperature, samples)
    yield asking.comparison
    work = asyncio.create_task(asking.everybody())
    stopped = asyncio.create_task((stop or asyncio.Event()).wait())
    try:
        while not work.done() and not stopped.done():
            changed = asyncio.create_task(asking.changed.wait())
            await asyncio.wait({work, stopped, changed}, timeout=HEARTBEAT, return_when=asyncio.FIRST_COMPLETED)
            changed.cancel()
            asking.changed.clear()
            if not work.done():
                yield asking.comparison
                await asyncio.sleep(FRAME)
        if work.done():
            work.result()
        else:
            asking.end()
        yield asking.comparison
    finally:
        work.cancel()
        stopped.cancel()


def _question(run: ShownRun, text: str | None) -> Question:
    text = (text or "").strip() if isinstance(text, str | None) else ""
    if not text:
        raise ForVisitors("Type a question first, or pick one of the run's questions.")
    if len(text) > LONGEST_QUESTION:
        raise ForVisitors(
            f"The question is too long: it has {len(text):,} characters, and {LONGEST_QUESTION:,} is the most. "
            "Shorten it."
        )
    question = run.question(text)
    if run.settings.stored_only:
        if not run.stored(question):
            raise ForVisitors(NOT_STORED)
    else:
        _ = run.task  # says so where it cannot be asked
    return question


class _Asking:
    """One question on its way through the lanes."""

    def __init__(self, run: ShownRun, models: Models, question: Question, temperature: float, samples: int):
        self.run, self.models, self.temperature, self.count = run, models, temperature, samples
        self.changed = asyncio.Event()
        self.stored = {row["row"]: row for row in run.stored(question)}
        self.comparison = Comparison(
            question=question,
            vote=run.votes.get(question.question_id),
            gold=next((row["gold"] for row in self.stored.values()), None),
            columns=self._columns(),
            variant=run.reward_variant,
            stored_only=run.settings.stored_only,
        )

    def _columns(self) -> list[Column]:
        run = self.run
        live = run.settings.teacher_endpoint and not run.settings.stored_only
        what = f"{TEACHER.words}, {'answering live' if live else 'as it answered when the run was made'}"
        return [
            Column(TEACHER.role, TEACHER.title, what, run.teacher_name, row=TEACHER.name),
            *(Column(row.role, row.title, row.words, ref, row=row.name) for row, ref in run.students.items()),
        ]

    async def everybody(self) -> None:
        """Every model in its lane, each followed by the reward model."""
        teacher, *students = self.comparison.columns
        lanes = [self._lane(teacher, self._teacher), *(self._lane(column, self._student) for column in students)]
        await asyncio.gather(*lanes)
        if self.comparison.scoring != "failed":
            scored = any(sample.score is not None for sample in self.comparison.samples())
            self.comparison.scoring = "done" if scored else "absent"
            self.comparison.scoring_note = "" if scored else "There is no answer to score."

    def end(self) -> None:
        """Leave what is not there yet as stopped."""
        for column in self.comparison.columns:
            if column.state in ("waiting", "working"):
                column.state, column.note = "stopped", "Stopped"
        if self.comparison.scoring in ("waiting", "working"):
            scored = any(sample.score is not None for sample in self.comparison.samples())
            self.comparison.scoring, self.comparison.scoring_note = ("done", "") if scored else ("stopped", "Stopped")

    def _say(self, column: Column, state: str, note: str = "") -> None:
        column.state, column.note = state, note
        self.changed.set()

    async def _lane(self, column: Column, answer: Callable) -> None:
        try:
            if self.run.settings.stored_only:
                self._from_results(column)
            else:
                await answer(column)
        except HFDistillError as error:
            words = told(error, NO_TEACHER if column.role == TEACHER.role else NOT_LOADED)
            if not self._from_results(column):
                self._say(column, "failed", words)
        if column.samples:
            await self._judge(column)

    def _from_results(self, column: Column) -> bool:
        """Show what a model answered in the evaluation."""
        row = self.stored.get(column.row)
        if row is None:
            self._say(column, "absent", "Was not asked this question in the evaluation.")
            return False
        column.samples = [stored_answer(self.run, self.comparison.question, row, self.comparison.vote)]
        column.what = STORED.format(PAPER_ROWS[column.row].words)
        self._say(column, "done")
        return True

    async def _teacher(self, column: Column) -> None:
        question = self.comparison.question
        if self.run.settings.teacher_endpoint:
            from .teacher import ask_teacher  # with an HTTP client, which no other page needs

            async with self.models.turns("teacher").turn(partial(self._place, column)):
                self._say(column, "working", "Answers …")
                column.samples = await ask_teacher(self.run, question, self.temperature, self.count)
        elif stored := await asyncio.to_thread(self.run.stored_answer, question):
            column.samples = [read(self.run.task, question, stored.text, stored.finish_reason != "length")]
        self._say(column, *(("done",) if column.samples else ("absent", NOT_ASKED)))

    async def _student(self, column: Column) -> None:
        async with self.models.turns(column.ref).turn(partial(self._place, column)):
            loaded = self.models.has(column.ref)
            self._say(column, "working", "Answers …" if loaded else LOADS)
            loop = asyncio.get_running_loop()
            column.samples = await in_thread(partial(self._answers, column, loop))
        column.draft = ""
        self._say(column, "done")

    def _answers(self, column: Column, loop: asyncio.AbstractEventLoop, stop: threading.Event) -> list[ShownAnswer]:
        """A student's answers, in a thread of their own."""
        run, question = self.run, self.comparison.question
        student = self.models.student(column.ref)
        words = student.unknown_words(run.task.prompt(question, shots=0))
        single = self.count == 1 or self.temperature == 0

        def written(text: str) -> None:
            if stop.is_set():
                raise Stopped
            column.note, column.draft = "Answers …", text if single else ""
            loop.call_soon_threadsafe(self.changed.set)

        self.comparison.unknown_words = self.comparison.unknown_words or words
        # The base student never saw the bare prompt in training: it gets the worked examples, as in the paper's ICL.
        # An instruct model gets none.
        shots = run.task.shots if column.role == BASE.role and student.encoder.chat is None else 0
        return self.models.answer(column.ref, run.task, question, shots, self.temperature, self.count, written)

    async def _judge(self, column: Column) -> None:
        """The reward model's scores of a column's answers."""
        comparison, unscored = self.comparison, [sample for sample in column.samples if sample.score is None]
        if not unscored or self.run.settings.stored_only or comparison.scoring == "failed":
            return
        ref = self.run.settings.ref(REWARD.name)
        comparison.scoring = "working"
        comparison.scoring_note = "Scores the answers …" if self.models.has(ref) else "Loads the reward model …"
        self.changed.set()
        try:
            async with self.models.turns(ref).turn(lambda before: None):
                await in_thread(lambda stop: score(self.run, self.models, comparison.question, unscored))
        except HFDistillError as error:
            comparison.scoring, comparison.scoring_note = "failed", told(error, NOT_SCORED)
        self.changed.set()

    def _place(self, column: Column, before: int) -> None:
        self._say(column, "waiting", f"In the queue: {before} before you" if before else "Its turn is next")


def stored_answer(run: ShownRun, question: Question, row: dict, vote: Vote | None) -> ShownAnswer:
    """An answer of the evaluation with its score, and the reward that Eq. 7 makes of it."""
    finished = row["finish_reason"] != "length"
    reason = None
    if row["answer"] is None:
        reason = "no final answer was found in it" if finished else "it was cut off at the length limit"
    shown = ShownAnswer(row["response"], row["answer"], reason, finished, row["score"], correct=row["correct"])
    if row["score"] is not None:
        shown.reward = _reward(run, question, shown, vote, row["score"])
    return shown


def score(run: ShownRun, models: Models, question: Question, answers: list[ShownAnswer]) -> None:
    """Fill in the reward model's score of answers, and the reward that Eq. 7 makes of it.

    Raises:
        [`~hfdistill.errors.HFDistillError`]: if the reward model cannot be loaded, or cannot read so much.
    """
    ref = run.settings.ref(REWARD.name)
    scorer = models.scorer(ref)
    prompt = scorer.encoder.question_ids(run.task, question)
    sequences = [
        prompt + (answer.token_ids or scorer.encoder.response_ids(answer.text, answer.finished)) for answer in answers
    ]
    context = scorer.model.config.get_text_config().max_position_embeddings
    longest = max(map(len, sequences))
    if longest > context:
        raise ForVisitors(
            f"The reward model reads {context} tokens, and question and answer together have {longest}: "
            "shorten the question."
        )
    vote = run.votes.get(question.question_id)
    for answer, value in zip(answers, models.compute(ref, scores, sequences), strict=True):
        answer.reward = _reward(run, question, answer, vote, value)
        answer.score = value


def _reward(run: ShownRun, question: Question, answer: ShownAnswer, vote: Vote | None, value: float) -> float:
    judged = (question.question, answer.text, answer.answer, vote and vote.label, value)
    return distilled_reward(*judged, same=run.same, variant=run.reward_variant)
