"""Labels by a judge, for tasks without a final answer to vote on: a model behind an endpoint says several times
whether a response is good, or which of two is better, and the vote over its verdicts gives the label.
"""

import hashlib
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import cycle
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ClassVar

from ..errors import HFDistillError
from ..fields import NO_EFFECT, decides, section
from ..sections import TeacherConfig
from ..tasks.base import Question, Task
from ..tasks.thoughts import spoken
from ..teacher.journal import Journal
from ..teacher.plan import Grid, Plan
from ..teacher.protocols import Decoding
from ..teacher.session import collect
from .labeler import CORRECT, INCORRECT, Candidate, Labeler, Verdict
from .verdicts import AGAINST, FOR, UNREADABLE, Reading, VerdictReader, reader_of
from .vote import exact_threshold, vote


# What a verdict says of the candidate, for each of the prompts that `_prompts` makes in turn.
READINGS = {
    "grade": ({FOR: CORRECT, AGAINST: INCORRECT},),
    "compare": ({FOR: CORRECT, AGAINST: INCORRECT}, {AGAINST: CORRECT, FOR: INCORRECT}),
}
FIRST_LOOK = 20  # replies that are read before the rest is bought
SHOWN = 160  # characters of a reply in a message


def _judge(asked: Mapping[str, Any]) -> bool | str:
    """Whether another model than the teacher judges: where it has no name, its address stands for it."""
    return asked["endpoint"] is not None and (asked["model"] is not None or asked["endpoint"])


@section()
@dataclass
class LLMJudge(Labeler):
    """A response is `"correct"` when more than `threshold` of its verdicts are for it, `"incorrect"` when more than
    `threshold` are against it, and has no label otherwise. A reply without a verdict counts as a voter for neither.
    Where the task has final answers, the pseudo-label is what more than `threshold` of the correct responses agree on;
    an open-ended task has none, and a question fails when no response is correct. A blank response to one is
    incorrect, and the judge is not asked.

    What a reply says is read as the prompt asks for it, see [`~hfdistill.labels.verdicts.reader_of`]. If none of the
    first replies holds a verdict, nothing more is bought. Concurrency, patience, limits and prices are those of
    section `teacher`.

    Args:
        endpoint (`str`, *optional*): base URL of a server with `/v1/chat/completions` (TGI, vLLM, `hfdistill serve`);
            by default the teacher itself judges.
        model (`str`, *optional*): name that the server expects.
        mode (`str`): `"grade"`, one response at a time, or `"compare"`, against another response to the question,
            asked in both orders because judges prefer a position.
        verdicts (`int`): how often each response is judged; in mode `compare`, against how many others.
        threshold (`float`): share of the verdicts that must agree.
        temperature (`float`): of the judge; at 0 all verdicts would be one.
        max_new_tokens (`int`): longest reply; one that is cut off has no verdict.
        good_from (`float`, *optional*): the least score of a good response, where the task's `judge_template` asks for
            a score; 0.7 of the highest by default.
        api_key_env (`str`, *optional*): environment variable with the endpoint's token.
    """

    name: ClassVar[str] = "llm_judge"
    reads_text: ClassVar[bool] = True

    endpoint: str | None = field(default=None, metadata=decides(value=_judge))
    model: str | None = None
    mode: str = "grade"
    verdicts: int = 5
    threshold: float = 0.7
    temperature: float = 0.7
    max_new_tokens: int = 256
    good_from: float | None = field(default=None, metadata=decides(if_changed=True))
    api_key_env: str | None = field(default=None, metadata=NO_EFFECT)

    def __post_init__(self):
        self._read: dict[str, list[Reading]] = {}
        self._cost: dict[str, Any] = {}
        exact_threshold(self.threshold)
        if self.threshold < 0.5:
            raise HFDistillError(
                f"the judge's threshold must be 0.5 or more, not {self.threshold}: both sides could win"
            )
        if self.mode not in READINGS:
            raise HFDistillError(f"the judge's mode is 'grade' or 'compare', not {self.mode!r}")
        for option, number in (("verdicts", self.verdicts), ("max_new_tokens", self.max_new_tokens)):
            if number < 1:
                raise HFDistillError(f"the judge's {option} must be at least one, not {number}")
        if not 0 <= self.temperature <= 2:
            raise HFDistillError(f"the judge's temperature lies between 0 and 2: it is {self.temperature}")
        if self.api_key_env is not None and self.api_key_env not in os.environ:
            raise HFDistillError(f"the judge's token is expected in ${self.api_key_env}, which is not set")

    def prepare(
        self,
        asked: Iterable[tuple[Question, Sequence[Candidate]]],
        task: Task,
        teacher: TeacherConfig | None,
        folder: Path | None,
    ) -> None:
        """Buy every reply, and read the verdict in each.

        Raises:
            [`~hfdistill.errors.HFDistillError`]: if nobody answers, a limit is reached, or no reply can be read.
        """
        reader = self._reader(task)
        prompts = {
            _key(prompt): prompt
            for question, candidates in asked
            for place in range(len(candidates))
            for prompt in self._prompts(question, candidates, place, task)
        }
        if not prompts:
            return
        grid = Grid([self.temperature], self.verdicts if self.mode == "grade" else 1)
        # By a hash of it, so that the same prompt is bought once, whichever call asks.
        plan = Plan([Question(*item, "train") for item in prompts.items()], lambda item: item.question, grid)
        judge = self._teacher(teacher)
        who = _key(f"{self.model or self.endpoint or judge.model}\n{self.max_new_tokens}")

        def readings(journal: Journal, key: str) -> list[Reading]:
            kept = [reply for reply in journal.of(key) if (reply.temperature, reply.sample) in grid.keys]
            return [reader.read(reply.text, reply.finish_reason) for reply in kept]

        def look(journal: Journal) -> None:
            first = list(prompts)[:FIRST_LOOK]
            self._check_read([reading for key in first for reading in readings(journal, key)], reader, journal, first)

        with (
            TemporaryDirectory() as scratch,
            Journal(Path(folder or scratch) / f"verdicts-{who[:8]}.sqlite") as journal,
        ):
            try:
                made = collect(
                    journal,
                    judge,
                    plan,
                    Decoding(self.max_new_tokens),
                    look=look,
                    first_look=FIRST_LOOK,
                    retry_failed=True,
                    growing=True,
                    probe=False,  # a judge may be sure of its verdict at every temperature
                    stage="judge",
                )
                found = {key: readings(journal, key) for key in prompts}
                self._check_read([one for several in found.values() for one in several], reader, journal, [*prompts])
            except HFDistillError as error:
                raise HFDistillError(f"the judge: {error}") from error
        self._read |= found
        self._cost = {"model": made["model_id"], **made["cost"]}

    def _check_read(
        self, readings: Sequence[Reading], reader: VerdictReader, journal: Journal, keys: Sequence[str]
    ) -> None:
        """Refuse to go on with a judge none of whose replies can be read."""
        if not readings or any(reading.said for reading in readings):
            return
        why = Counter(reading.reason for reading in readings)
        reasons = ", ".join(f"{count} {UNREADABLE[reason]}" for reason, count in why.most_common())
        first = next(reply for key in keys for reply in journal.of(key))
        end = " ".join(first.text.split())[-SHOWN:]
        raise HFDistillError(
            f"none of its first {len(readings)} replies can be read ({reasons}): its prompt asks for {reader.asked}, "
            f"and the first one ends in {end!r}; raise the judge's max_new_tokens ({self.max_new_tokens}), let "
            'task.judge_template end in what it is to say ("Verdict: yes" or "Verdict: no"), or name another judge'
        )

    def _reader(self, task: Task) -> VerdictReader:
        """Reads what the task's prompt asks for, whatever question and response say."""
        blank, compares = Question("", "", "train"), self.mode == "compare"
        return reader_of(task.judge_prompt(blank, "", *([""] if compares else [])), compares, self.good_from)

    def figures(self) -> dict[str, Any]:
        """See [`~hfdistill.labels.labeler.Labeler.figures`]."""
        read = [reading for readings in self._read.values() for reading in readings]
        unreadable = Counter(reading.reason for reading in read if reading.reason)
        return {"replies": len(read), "unreadable": dict(sorted(unreadable.items())), **self._cost} if read else {}

    def requests(self, responses: int) -> int:
        """How many replies it takes to label so many responses to one question, if all differ."""
        if self.mode == "grade":
            return responses * (self.verdicts if self.temperature else 1)
        return min(2 * responses * self.verdicts, responses * (responses - 1))

    def _teacher(self, teacher: TeacherConfig | None) -> TeacherConfig:
        """The judge as a section `teacher`; the teacher's token goes to the teacher's endpoints alone."""
        if self.endpoint is None and not (teacher and teacher.endpoints):
            raise HFDistillError("nobody is there to judge: give the judge's option endpoint")
        judge = replace(teacher or TeacherConfig(""), chat=True, kind="auto")
        if self.endpoint is not None:
            judge = replace(judge, endpoints=[self.endpoint], model="", api_key_env=None)
        return replace(judge, model=self.model or judge.model, api_key_env=self.api_key_env or judge.api_key_env)

    def label(self, question: Question, candidates: Sequence[Candidate], task: Task) -> Verdict:
        judged = [
            vote(Counter(self._grades(question, candidates, place, task)), self.threshold)
            for place in range(len(candidates))
        ]
        labels = tuple(
            INCORRECT if _blank(candidate, task) else result.label
            for candidate, result in zip(candidates, judged, strict=True)
        )
        answers: Counter[str | None] = Counter()
        for candidate, label in zip(candidates, labels, strict=True):
            if label == CORRECT and not task.open_ended:
                answers[candidate.answer] += candidate.count
        votes = sum(result.votes for result in judged if result.label == CORRECT)
        voters = sum(result.voters for result in judged)
        pseudo_label = vote(answers, self.threshold, task.same).label
        return Verdict(pseudo_label, votes / voters if voters else 0.0, votes, voters, labels)

    def _grades(self, question: Question, candidates: Sequence[Candidate], place: int, task: Task) -> list[str | None]:
        """Verdicts on one candidate: `"correct"`, `"incorrect"`, `None` where the reply holds none."""
        prompts = zip(self._prompts(question, candidates, place, task), cycle(READINGS[self.mode]), strict=False)
        # At temperature 0 the one reply is all verdicts.
        copies = self.verdicts if self.mode == "grade" and not self.temperature else 1
        return [meaning.get(one.said) for prompt, meaning in prompts for one in self._read[_key(prompt)] * copies]

    def _prompts(self, question: Question, candidates: Sequence[Candidate], place: int, task: Task) -> list[str]:
        """What the judge is asked about one candidate; in mode `compare` with it first, then with it second."""
        if _blank(candidates[place], task):
            return []
        response = _shown(candidates[place])
        if self.mode == "grade":
            return [task.judge_prompt(question, response)]
        turned = (candidates[(place + step) % len(candidates)] for step in range(1, len(candidates)))
        others = [_shown(other) for other in turned if not _blank(other, task)]
        return [
            task.judge_prompt(question, *pair)
            for other in others[: self.verdicts]
            for pair in ((response, other), (other, response))
        ]


def _shown(candidate: Candidate) -> str:
    """What the judge is shown of a response: no thoughts, unless it ends within one."""
    response = candidate.response or ""
    said = spoken(response)
    return response if said is None else said


def _blank(candidate: Candidate, task: Task) -> bool:
    """Whether there is nothing to judge: of an open-ended task the whole response is the answer."""
    return task.open_ended and candidate.answer is None


def _key(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
