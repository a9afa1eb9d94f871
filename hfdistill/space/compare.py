"""One question, put to the teacher and to every student, and judged by the reward model."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from ..errors import HFDistillError
from ..evaluation.paper_rows import BASE, OURS, TEACHER, WITHOUT_REWARD
from ..kinds import POLICY, REWARD, WARMUP
from ..labels.vote import Vote
from ..reward.distilled import distilled_reward
from ..tasks import Question
from .models import Models, ShownAnswer, read
from .run import ShownRun
from .teacher import NO_ANSWER, ask_teacher
from .visitors import ForVisitors, told


LONGEST_QUESTION = 8000  # characters; the models' own limit, in tokens, is checked when they are asked
NOT_ASKED = (
    "Was not asked this question while the run was made, and does not answer live here. The run's own questions have "
    "an answer."
)
NOT_LOADED = "This model cannot be loaded here now."
NOT_SCORED = "The reward model cannot be loaded here now."


@dataclass
class Column:
    """What one model says."""

    role: str  # "teacher", "student", "warmup" or "policy"
    title: str  # who this is, in words, as the next
    what: str
    ref: str  # where the model is
    state: str = "waiting"  # or "working", "done", "absent", "failed"
    note: str = "Waits for its turn"  # what it is doing, or what went wrong
    samples: list[ShownAnswer] = field(default_factory=list)


@dataclass
class Comparison:
    """Everything shown for one question; it fills up while the models answer.

    Attributes:
        question ([`~hfdistill.tasks.Question`]): what was asked.
        vote ([`~hfdistill.labels.vote.Vote`], *optional*): of the teacher, for a question of the training.
        gold (`str`, *optional*): right answer, where the question was part of the evaluation.
        columns (`list[Column]`): teacher first, then the students in the order of their making.
        scoring (`str`): state of the reward model, one of the same.
        scoring_note (`str`): what it is doing, or what went wrong.
        variant (`str`): of Eq. 7.
        unknown_words (`list[str]`): words of the question that the students cannot read.
    """

    question: Question
    vote: Vote | None
    gold: str | None
    columns: list[Column]
    scoring: str = "waiting"
    scoring_note: str = ""
    variant: str = "min"
    unknown_words: list[str] = field(default_factory=list)

    def samples(self) -> list[ShownAnswer]:
        """The answers of all columns."""
        return [sample for column in self.columns for sample in column.samples]


def compare(
    run: ShownRun, models: Models, text: str | None, temperature: float = 0.0, samples: int = 1
) -> Iterator[Comparison]:
    """Ask everybody; yields the same comparison again whenever there is more to show.

    A model that fails leaves its reason in its column, and the others answer all the same.

    Args:
        run ([`~hfdistill.space.run.ShownRun`]): whose models are asked.
        models ([`~hfdistill.space.models.Models`]): those in memory.
        text (`str`): the question.
        temperature (`float`, *optional*, defaults to 0): of all models; 0 is greedy.
        samples (`int`, *optional*, defaults to 1): answers of each model at a temperature above 0.

    Raises:
        [`~hfdistill.space.visitors.ForVisitors`]: if the question is empty or too long.
    """
    text = (text or "").strip()
    if not text:
        raise ForVisitors("Type a question first, or pick one of the run's questions.")
    if len(text) > LONGEST_QUESTION:
        raise ForVisitors(
            f"The question is too long: it has {len(text):,} characters, and {LONGEST_QUESTION:,} is the most. "
            "Shorten it."
        )
    question = run.question(text)
    comparison = Comparison(
        question=question,
        vote=run.votes.get(question.question_id),
        gold=run.gold(question),
        columns=_columns(run),
        variant=run.reward_variant,
    )
    yield comparison
    teacher, *students = comparison.columns
    yield from _with_teacher(run, comparison, teacher, temperature, samples)
    for column in students:
        yield from _with_student(run, models, comparison, column, temperature, samples)
    yield from _with_scores(run, models, comparison)


def _columns(run: ShownRun) -> list[Column]:
    live = run.settings.teacher_endpoint
    what = f"{TEACHER.words}, {'answering live' if live else 'as it answered when the run was made'}"
    students = {BASE: run.student, WITHOUT_REWARD: run.settings.ref(WARMUP.name), OURS: run.settings.ref(POLICY.name)}
    return [
        Column(TEACHER.role, TEACHER.title, what, run.teacher_name),
        *(Column(row.role, row.title, row.words, ref) for row, ref in students.items() if ref is not None),
    ]


def _with_teacher(
    run: ShownRun, comparison: Comparison, column: Column, temperature: float, samples: int
) -> Iterator[Comparison]:
    column.state, column.note = "working", "Answers …"
    yield comparison
    try:
        if run.settings.teacher_endpoint:
            column.samples = ask_teacher(run, comparison.question, temperature, samples)
        elif stored := run.stored_answer(comparison.question):
            column.samples = [read(run.task, comparison.question, stored.text, stored.finish_reason != "length")]
        column.state, column.note = ("done", "") if column.samples else ("absent", NOT_ASKED)
    except HFDistillError as error:
        column.state, column.note = "failed", told(error, NO_ANSWER)
    yield comparison


def _with_student(
    run: ShownRun, models: Models, comparison: Comparison, column: Column, temperature: float, samples: int
) -> Iterator[Comparison]:
    column.state = "working"
    column.note = "Answers …" if models.has(column.ref) else "Loads the model; the first time this takes a while …"
    yield comparison
    try:
        student = models.student(column.ref)
        if column.note != "Answers …":
            column.note = "Answers …"
            yield comparison
        if not comparison.unknown_words:
            comparison.unknown_words = student.unknown_words(run.task.prompt(comparison.question, shots=0))
        # The base student never saw the bare prompt in training: it gets the worked examples, as in the paper's ICL.
        # An instruct model gets none.
        shots = run.task.shots if column.role == BASE.role and student.encoder.chat is None else 0
        column.samples = student.answer(run.task, comparison.question, shots, temperature, samples)
        column.state, column.note = "done", ""
    except HFDistillError as error:
        column.state, column.note = "failed", told(error, NOT_LOADED)
    yield comparison


def _with_scores(run: ShownRun, models: Models, comparison: Comparison) -> Iterator[Comparison]:
    answers = comparison.samples()
    if not answers:
        comparison.scoring, comparison.scoring_note = "absent", "There is no answer to score."
        yield comparison
        return
    ref = run.settings.ref(REWARD.name)
    comparison.scoring = "working"
    comparison.scoring_note = "Scores the answers …" if models.has(ref) else "Loads the reward model …"
    yield comparison
    try:
        score(run, models, comparison)
        comparison.scoring, comparison.scoring_note = "done", ""
    except HFDistillError as error:
        comparison.scoring, comparison.scoring_note = "failed", told(error, NOT_SCORED)
    yield comparison


def score(run: ShownRun, models: Models, comparison: Comparison) -> None:
    """Fill in the reward model's score of every answer, and the reward that Eq. 7 makes of it."""
    scorer = models.scorer(run.settings.ref(REWARD.name))
    answers, question = comparison.samples(), comparison.question
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
    scores = scorer.score_ids(sequences).tolist()
    pseudo_label = comparison.vote and comparison.vote.label
    for answer, value in zip(answers, scores, strict=True):
        answer.score = value
        judged = (question.question, answer.text, answer.answer, pseudo_label, value)
        answer.reward = distilled_reward(*judged, same=run.task.same, variant=run.reward_variant)
