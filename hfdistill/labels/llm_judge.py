"""Labels by a judge, for tasks without a final answer to vote on: a model behind an endpoint says several times
whether a response is good, or which of two is better, and the vote over its verdicts gives the label.
"""

import hashlib
import os
import re
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
from ..teacher.journal import Journal
from ..teacher.plan import Grid, Plan
from ..teacher.protocols import Decoding
from ..teacher.session import collect
from .labeler import CORRECT, INCORRECT, Candidate, Labeler, Verdict
from .vote import exact_threshold, vote


# What a verdict says of the candidate, for each of the prompts that `_prompts` makes in turn.
READINGS = {
    "grade": ({"yes": CORRECT, "no": INCORRECT},),
    "compare": ({"a": CORRECT, "b": INCORRECT}, {"b": CORRECT, "a": INCORRECT}),
}
VERDICT = re.compile(r"verdict\W{0,8}(yes|no|a|b)\b", re.IGNORECASE)


def _judge(asked: Mapping[str, Any]) -> bool | str:
    """Whether another model than the teacher judges: where it has no name, its address stands for it."""
    return asked["endpoint"] is not None and (asked["model"] is not None or asked["endpoint"])


@section()
@dataclass
class LLMJudge(Labeler):
    """A response is `"correct"` when more than `threshold` of its verdicts are for it, `"incorrect"` when more than
    `threshold` are against it, and has no label otherwise. A reply without a verdict counts as a voter for neither.
    Where the task has final answers, the pseudo-label is what more than `threshold` of the correct responses agree on;
    an open-ended task has none, and a question fails when no response is correct.

    Concurrency, patience and limits are those of section `teacher`.

    Args:
        endpoint (`str`, *optional*): base URL of a server with `/v1/chat/completions` (TGI, vLLM, `hfdistill serve`);
            by default the teacher itself judges.
        model (`str`, *optional*): name that the server expects.
        mode (`str`): `"grade"`, one response at a time, or `"compare"`, against another response to the question,
            asked in both orders because judges prefer a position.
        verdicts (`int`): how often each response is judged; in mode `compare`, against how many others.
        threshold (`float`): share of the verdicts that must agree.
        temperature (`float`): of the judge; at 0 all verdicts would be one.
        max_new_tokens (`int`): longest reply.
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
    api_key_env: str | None = field(default=None, metadata=NO_EFFECT)

    def __post_init__(self):
        self._said: dict[str, list[str | None]] = {}
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
        """Buy every reply, and read the verdict in each: the last one, if there is any."""
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
        with (
            TemporaryDirectory() as scratch,
            Journal(Path(folder or scratch) / f"verdicts-{who[:8]}.sqlite") as journal,
        ):
            try:
                collect(
                    journal,
                    judge,
                    plan,
                    Decoding(self.max_new_tokens),
                    retry_failed=True,
                    growing=True,
                    probe=False,  # a judge may be sure of its verdict at every temperature
                    stage="judge",
                )
            except HFDistillError as error:
                raise HFDistillError(f"the judge: {error}") from error
            for key in prompts:
                replies = [reply for reply in journal.of(key) if (reply.temperature, reply.sample) in grid.keys]
                self._said[key] = [_verdict(reply.text) for reply in replies] * grid.cells[0].copies

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
        labels = tuple(result.label for result in judged)
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
        return [reading.get(said) for prompt, reading in prompts for said in self._said[_key(prompt)]]

    def _prompts(self, question: Question, candidates: Sequence[Candidate], place: int, task: Task) -> list[str]:
        """What the judge is asked about one candidate; in mode `compare` with it first, then with it second."""
        response = candidates[place].response or ""
        if self.mode == "grade":
            return [task.judge_prompt(question, response)]
        others = [candidates[(place + step) % len(candidates)].response or "" for step in range(1, len(candidates))]
        return [
            task.judge_prompt(question, *pair)
            for other in others[: self.verdicts]
            for pair in ((response, other), (other, response))
        ]


def _verdict(reply: str) -> str | None:
    found = VERDICT.findall(reply[-2000:])
    return found[-1].lower() if found else None


def _key(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
