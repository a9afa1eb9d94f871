"""The vote over final answers (Section 3.1): the pseudo-label is what enough confident responses agree on."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import ClassVar

from ..errors import HFDistillError
from ..tasks.base import Question, Task
from .labeler import CORRECT, HIGH, INCORRECT, Candidate, Labeler, Verdict


@dataclass(frozen=True)
class Vote:
    """What a question's voters said.

    Args:
        label (`str`, *optional*): the pseudo-label, `None` where the vote gives none.
        share (`float`): votes / voters, 0 without voters.
        votes (`int`): votes for the leading answer, whether it won or not.
        voters (`int`): all of them, those without an answer included.
    """

    label: str | None
    share: float
    votes: int
    voters: int


def vote(
    answers: Iterable[str | None] | Mapping[str | None, int],
    threshold: float,
    same: Callable[[str, str], bool] | None = None,
) -> Vote:
    """The majority vote of Section 3.1.

    An answer becomes the label when strictly more than `threshold` of all voters gave it; a voter without an answer
    counts as a voter and never wins; a tie for the lead gives no label. Shares are compared as integers, so 14 of 20
    is not above 0.7. A threshold of 1 therefore labels nothing.

    Args:
        answers (`Iterable[str | None]` or `Mapping[str | None, int]`): canonical answers, or how often each occurs.
        threshold (`float`): in (0, 1].
        same (`Callable`, *optional*): whether two answers are one; equality of strings by default. The label is the
            form that was met first.
    """
    numerator, denominator = exact_threshold(threshold)
    counts = answers if isinstance(answers, Mapping) else Counter(answers)
    voters = sum(counts.values())
    totals: dict[str, int] = {}
    for answer, count in counts.items():
        if answer is None or not count:
            continue
        if same is not None and answer not in totals:
            answer = next((known for known in totals if same(known, answer)), answer)
        totals[answer] = totals.get(answer, 0) + count
    if not totals:
        return Vote(None, 0.0, 0, voters)
    leader = max(totals, key=totals.__getitem__)
    votes = totals[leader]
    tied = sum(count == votes for count in totals.values()) > 1
    wins = votes * denominator > numerator * voters and not tied
    return Vote(leader if wins else None, votes / voters, votes, voters)


@lru_cache(maxsize=64, typed=True)
def exact_threshold(threshold: float) -> tuple[int, int]:
    """The threshold as written, as a fraction: 0.7 is 7/10, not the nearest binary number."""
    if isinstance(threshold, bool) or not isinstance(threshold, int | float) or not 0 < threshold <= 1:
        raise HFDistillError(f"the threshold must be above 0 and at most 1, not {threshold!r}")
    return Fraction(str(threshold)).as_integer_ratio()


def response_label(
    answer: str | None, pseudo_label: str | None, same: Callable[[str, str], bool] | None = None
) -> str | None:
    """The label of a response (Eq. 1): `"correct"` where its answer is the pseudo-label, `"incorrect"` where it is
    another one or none, `None` where the question has no pseudo-label.
    """
    if pseudo_label is None:
        return None
    right = answer is not None and (answer == pseudo_label or (same is not None and same(answer, pseudo_label)))
    return CORRECT if right else INCORRECT


@dataclass
class VoteLabeler(Labeler):
    """The majority vote over the high-confidence responses.

    Args:
        threshold (`float`): share of the high-confidence responses that an answer must exceed.
    """

    name: ClassVar[str] = "vote"

    threshold: float = 0.7

    def __post_init__(self):
        exact_threshold(self.threshold)

    def check(self, task: Task) -> None:
        """See [`~hfdistill.labels.labeler.Labeler.check`]."""
        if task.open_ended:
            raise HFDistillError(
                f"task {task.name!r} is open-ended, so that no two responses have one final answer to vote for: let a "
                "judge label them (labeler llm_judge), or give the task's answers a form (answer: number)"
            )

    def label(self, question: Question, candidates: Sequence[Candidate], task: Task) -> Verdict:
        counts: Counter[str | None] = Counter()
        for candidate in candidates:
            if candidate.confidence == HIGH:
                counts[candidate.answer] += candidate.count
        won = vote(counts, self.threshold, task.same)
        labels = tuple(response_label(candidate.answer, won.label, task.same) for candidate in candidates)
        return Verdict(won.label, won.share, won.votes, won.voters, labels)
