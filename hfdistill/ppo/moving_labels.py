"""Labels that move: the student's own vote gives a question its y* from then on, until a later vote says otherwise.

Training on one's own vote works for a while and collapses if prolonged (https://arxiv.org/abs/2505.21444): all
answers become one. So a sample of questions with a label of the teacher is answered along, and when the student falls
away from those, or its answers become few, labels move no more.
"""

import random
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from math import log
from pathlib import Path
from typing import Any

from transformers.utils import logging

from ..errors import HFDistillError, unknown
from ..labels.plurality import plurality
from ..rows import write_parquet
from .ballots import Ballot, BallotReader
from .prompts import PromptDataset, PromptStream


logger = logging.get_logger(__name__)

QUESTION, LABEL = "question_id", "pseudo_label"
# Most labelled questions that are watched, and at most half of them.
WATCHED = 100
# Labels move no more once agreement on these is so far below its first value, in share of questions …
MARGIN = 0.1
# … or the entropy of the answers that win is below this share of its first value.
LEAST_ENTROPY = 0.5


def weighted_vote(ballots: Sequence[Ballot], same: Callable[[str, str], bool]) -> tuple[str | None, float]:
    """The answer with the greatest weight, and its share of the vote.

    The share is that of the weights of all answers, times the share of responses that have an answer: one without
    counts as a voter, as in [`~hfdistill.labels.vote.vote`], of which this is the share where all weigh 1.

    Returns:
        `tuple[str | None, float]`: see [`~hfdistill.labels.plurality.plurality`]; `(None, 0.0)` where no response has
        an answer.
    """
    answered = [ballot for ballot in ballots if ballot.answer is not None]
    whole = sum(ballot.weight for ballot in answered)
    if not whole:
        return None, 0.0
    leader = plurality([ballot.answer for ballot in answered], same, [ballot.weight for ballot in answered])
    won = sum(ballot.weight for ballot in answered if same(leader, ballot.answer))
    return leader, won / whole * len(answered) / len(ballots)


def entropy(values: Iterable[Any]) -> float:
    """Entropy of the distribution of values, in nats; 0 without any."""
    counts = Counter(values)
    total = sum(counts.values())
    return sum(count / total * log(total / count) for count in counts.values())


def check_movable(prompts: PromptDataset | PromptStream) -> None:
    """Refuse a training dataset whose labels cannot move."""
    if isinstance(prompts, PromptStream):
        raise HFDistillError("train_dataset has no length, and its labels cannot move: leave moving_labels out")
    for name in (QUESTION, LABEL):
        if name not in prompts.rows[0]:
            raise unknown("layout of train_dataset, whose labels are to move: it has no column", name, prompts.rows[0])


class MovingLabels:
    """The labels of training questions that the student's vote gives, and what is watched meanwhile.

    The questions are rows with the columns `question_id` and `pseudo_label`, the teacher's. Those without a label may
    get one, and with `scope` `"all"` also another label those that have one, unless they are watched. A vote that does
    not exceed the threshold gives a question back what the teacher said.

    Args:
        reader ([`~hfdistill.ppo.ballots.BallotReader`]): reads the student's answers, with their weights.
        scope (`str`): `"fail"`, the questions without a label, or `"all"`.
        every (`int`): updates between two votes; the first is held after so many.
        samples (`int`): answers to each question.
        threshold (`float`): share of the vote that an answer must exceed.
        seed (`int`): of the choice of the questions that are watched.
        golds (`Mapping[str, str]`, *optional*): gold answers by question id that may be bought.
        gold_budget (`int`, *optional*, defaults to 0): for so many questions without a label, those with the lowest
            share at the first vote, the gold answer is bought, and stays.

    Attributes:
        labels (`dict[str, str]`): those that have moved, by question id, bought ones included.
        leading (`dict[str, str | None]`): the answer that led the last vote, whatever its share, by question id.
        shares (`dict[str, float]`): of that answer.
        bought (`list[str]`): ids of the questions whose gold answer was bought.
        votes (`int`): how often labels were moved.
        first, last (`dict[str, float]`): what is watched, at the first and the last vote.
        stopped (`int`, *optional*): the update at which labels had moved enough.
        why (`str`): what stopped them.
    """

    def __init__(
        self,
        reader: BallotReader,
        scope: str,
        every: int,
        samples: int,
        threshold: float,
        seed: int,
        golds: Mapping[str, str] | None = None,
        gold_budget: int = 0,
    ):
        self.reader, self.scope, self.every, self.samples, self.threshold = reader, scope, every, samples, threshold
        self.golds, self.gold_budget, self.seed = golds or {}, gold_budget, seed
        self._begin()

    def _begin(self) -> None:
        self.labels: dict[str, str] = {}
        self.leading: dict[str, str | None] = {}
        self.shares: dict[str, float] = {}
        self.bought: list[str] = []
        self.votes = 0
        self.first: dict[str, float] = {}
        self.last: dict[str, float] = {}
        self.stopped: int | None = None
        self.why = ""

    def reset(self, dataset: PromptDataset) -> None:
        """Begin anew, with the teacher's labels."""
        self._begin()
        self._enter(dataset)

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps, as plain values."""
        names = ("labels", "leading", "shares", "bought", "votes", "first", "last", "stopped", "why")
        return {name: vars(self)[name] for name in names}

    def restore(self, state: Mapping[str, Any], dataset: PromptDataset) -> None:
        """Go on from [`~MovingLabels.state`]."""
        vars(self).update(state)
        self._enter(dataset)

    def due(self, update: int) -> bool:
        """Whether a vote is held before this update."""
        return self.stopped is None and update > 0 and update % self.every == 0

    def watched(self, dataset: PromptDataset) -> list[int]:
        """Rows with a label of the teacher that are answered to compare, and whose labels stay."""
        labelled = [row for row, columns in enumerate(dataset.rows) if columns[LABEL] is not None]
        return sorted(random.Random(self.seed).sample(labelled, min(WATCHED, len(labelled) // 2)))

    def movable(self, dataset: PromptDataset) -> list[int]:
        """Rows whose labels may move."""
        watched = set(self.watched(dataset))
        return [
            row
            for row, columns in enumerate(dataset.rows)
            if columns[LABEL] is None or (self.scope == "all" and row not in watched)
        ]

    def asked(self, dataset: PromptDataset) -> list[int]:
        """Rows that the student answers for a vote."""
        movable = self.movable(dataset)
        return movable + self.watched(dataset) if movable else []

    def move(self, dataset: PromptDataset, ballots: Sequence[Sequence[Ballot]], update: int) -> dict[str, float]:
        """Hold a vote over the ballots of the rows that were [`~MovingLabels.asked`], and enter what it says into the
        dataset, unless the student is found to collapse.

        Returns:
            `dict[str, float]`: figures for the log: shares of the labels that may move that have `moved` and that
            `changed` in this vote, the mean `vote_share`, `distinct` answers that won and their `entropy` (nats), and
            `agreement` with the teacher on watched questions.
        """
        movable, watched = self.movable(dataset), self.watched(dataset)
        won = [weighted_vote(those, self.reader.same) for those in ballots]
        winners = [answer for answer, _ in won[: len(movable)] if answer is not None]
        self.last = {"entropy": entropy(winners)}
        if watched:
            right = [
                answer is not None and self.reader.same(answer, dataset.rows[row][LABEL])
                for row, (answer, _) in zip(watched, won[len(movable) :], strict=True)
            ]
            self.last["agreement"] = sum(right) / len(right)
        self.first = self.first or self.last
        before, shares = dict(self.labels), [share for _, share in won[: len(movable)]]
        self.why = self._collapse()
        if self.why:
            self.stopped = update
            logger.warning(f"update {update}: {self.why}; labels move no more, and stay as they were before")
        else:
            self._revise(dataset, movable, won)
            self._enter(dataset)
        changed = {key for key in before.keys() | self.labels.keys() if before.get(key) != self.labels.get(key)}
        figures = {
            "moved": len(self.labels) / len(movable),
            "changed": len(changed) / len(movable),
            "vote_share": sum(shares) / len(shares),
            "distinct": float(len(set(winners))),
            **self.last,
        }
        return {f"labels/{name}": value for name, value in figures.items()}

    def rows(self, dataset: PromptDataset) -> list[dict[str, Any]]:
        """The labels that may move, a row each: the teacher's, the one that stands now, the answer that led the last
        vote and its share.
        """
        rows = []
        for row in self.movable(dataset):
            key, teacher = dataset.rows[row][QUESTION], dataset.rows[row][LABEL]
            stands = {QUESTION: key, LABEL: teacher, "moved_label": self.labels.get(key, teacher)}
            vote = {"leading": self.leading.get(key), "vote_share": self.shares.get(key)}
            rows.append({**stands, **vote, "bought": key in self.bought})
        return rows

    def figures(self, dataset: PromptDataset) -> dict[str, Any]:
        """What came of it, for manifest and card."""
        said = {f"{name}_at_first": value for name, value in self.first.items()} | self.last
        if self.stopped is not None:
            said |= {"stopped_before_update": self.stopped, "stopped_because": self.why}
        counts = {"movable": len(self.movable(dataset)), "moved": len(self.labels), "golds_bought": len(self.bought)}
        return {"votes": self.votes, **counts, **said}

    def _collapse(self) -> str:
        """What of the watch says that the student collapses, if anything."""
        fallen = self.first.get("agreement", 0.0) - self.last.get("agreement", 0.0)
        if fallen > MARGIN:
            return (
                f"the student's vote agrees with the teacher on {self.last['agreement']:.3f} of the watched "
                f"questions, after {self.first['agreement']:.3f} at first"
            )
        if self.last["entropy"] < LEAST_ENTROPY * self.first["entropy"]:
            return (
                f"the answers that win have an entropy of {self.last['entropy']:.3f} nats, after "
                f"{self.first['entropy']:.3f} at first"
            )
        return ""

    def _revise(self, dataset: PromptDataset, movable: list[int], won: Sequence[tuple[str | None, float]]) -> None:
        teacher = {}
        for row, (answer, share) in zip(movable, won, strict=False):
            key = dataset.rows[row][QUESTION]
            teacher[key] = dataset.rows[row][LABEL]
            self.leading[key], self.shares[key] = answer, share
            if key in self.bought:
                continue
            self.labels.pop(key, None)
            known = teacher[key] is not None and answer is not None and self.reader.same(answer, teacher[key])
            if share > self.threshold and not known:
                self.labels[key] = answer
        if not self.votes and self.gold_budget:
            unsure = [key for key, label in teacher.items() if label is None and key in self.golds]
            self.bought = sorted(unsure, key=lambda key: (self.shares[key], key))[: self.gold_budget]
            self.labels |= {key: self.golds[key] for key in self.bought}
        self.votes += 1

    def _enter(self, dataset: PromptDataset) -> None:
        places = {columns[QUESTION]: row for row, columns in enumerate(dataset.rows)}
        dataset.replaced[LABEL] = {places[key]: label for key, label in self.labels.items()}


def write_labels(folder: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write [`~MovingLabels.rows`] beside a policy, `moved_labels.parquet`: what it was trained on in the end, to be
    compared with golds by whoever evaluates.
    """
    import pyarrow as pa

    types = {"vote_share": "float64", "bought": "bool"}
    names = (QUESTION, LABEL, "moved_label", "leading", "vote_share", "bought")
    schema = pa.schema([(name, pa.type_for_alias(types.get(name, "string"))) for name in names])
    write_parquet(folder / "moved_labels.parquet", rows, schema)
