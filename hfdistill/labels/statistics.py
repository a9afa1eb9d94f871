"""What the paper shows of the teacher (Figures 3 and 4), and what tells a good labelling run from a bad one."""

import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from statistics import median_low
from typing import Any

from ..intervals import interval
from .labeler import CORRECT, INCORRECT


BINS = 20
# Widths of a bin of lengths: the least that gives no more bins than `MOST_BINS`.
LENGTH_BINS = (1, 2, 5, 10, 20, 50)
MOST_BINS = 50
# Temperatures from here on, and the share of repeated responses above which they look as if they were not used.
ODD_FROM, ODD_SHARE = 0.4, 0.5


class LabelStatistics:
    """Gathers the figures row by row, so that the responses need not be in memory.

    Args:
        questions (`Sequence[Mapping]`): rows of the config `questions`.
        gold (`Mapping[str, str]`, *optional*): canonical golds by question id, where there are any.
        same (`Callable`, *optional*): the task's equality; that of strings by default.
    """

    def __init__(
        self,
        questions: Sequence[Mapping[str, Any]],
        gold: Mapping[str, str] | None = None,
        same: Callable[[str, str], bool] | None = None,
    ):
        self.questions = questions
        self.gold = gold or {}
        self.same = same or str.__eq__
        self.categories = {row["question_id"]: row.get("category") for row in questions}
        self.responses = self.unextractable = 0
        self.against_gold: Counter[tuple[str, bool]] = Counter()
        self.by_temperature: dict[str, Counter[str]] = defaultdict(Counter)
        self.by_category: dict[str, Counter[str]] = defaultdict(Counter)
        self.finish_reasons: Counter[str] = Counter()
        self.lengths: Counter[int] = Counter()
        self.models: Counter[str] = Counter()
        self.unit = "characters"
        self._seen: set[int] = set()

    def add(self, row: Mapping[str, Any]) -> None:
        """Counts one row of the config `responses`."""
        self.responses += 1
        answer, label, question_id = row["answer"], row["label"], row["question_id"]
        temperature = row.get("temperature")
        counts = [self.by_temperature["unknown" if temperature is None else f"{temperature:g}"]]
        category = self.categories.get(question_id)
        if category is not None:
            counts.append(self.by_category[category])
        facts = ["responses"]
        if answer is None:
            self.unextractable += 1
            facts.append("unextractable")
        if label is not None:
            facts += ["labelled", label]
        gold = self.gold.get(question_id)
        if gold is not None:
            right = answer is not None and self.same(answer, gold)
            facts += ["graded", "right"] if right else ["graded"]
            if label is not None:
                self.against_gold[label, right] += 1
        # A text and its temperature in 64 bits: a set of a million is small beside the texts.
        key = hash((question_id, temperature, row["response"]))
        if key in self._seen:
            facts.append("duplicates")
        self._seen.add(key)
        for count in counts:
            count.update(facts)
        if row.get("model"):
            self.models[row["model"]] += 1
        self.finish_reasons[row.get("finish_reason") or "unknown"] += 1
        tokens = row.get("completion_tokens")
        if tokens is not None:
            self.unit = "tokens"
        self.lengths[len(row["response"]) if tokens is None else tokens] += 1

    def result(self) -> dict[str, Any]:
        """All figures, ready for JSON.

        Returns:
            `dict`: `without_label` (Figure 3), `labels_against_gold` (Figure 4), `pseudo_labels_right`,
            `unextractable`, `by_temperature`, `by_category`, `vote_shares`, `finish_reasons`, `lengths`; what nothing
            is known of is left out. Shares with an interval are `{"value", "low", "high", "n"}`.
        """
        graded = [row for row in self.questions if row["question_id"] in self.gold and row["pseudo_label"] is not None]
        failed = sum(row["failed"] for row in self.questions)
        result = {
            "questions": len(self.questions),
            "responses": self.responses,
            "models": sorted(self.models),
            "without_label": share(failed, len(self.questions)),
            "unextractable": share(self.unextractable, self.responses),
            "pseudo_labels_right": share(sum(map(self._right, graded)), len(graded)),
            "labels_against_gold": {
                label: {"right": self.against_gold[label, True], "wrong": self.against_gold[label, False]}
                for label in (CORRECT, INCORRECT)
            }
            if self.against_gold
            else None,
            "by_temperature": {
                name: _shares(self.by_temperature[name]) for name in sorted(self.by_temperature, key=_order)
            },
            "by_category": self._categories(),
            "vote_shares": self._vote_shares(),
            "finish_reasons": dict(sorted(self.finish_reasons.items())),
            "lengths": self._lengths(),
        }
        return {name: value for name, value in result.items() if value is not None}

    def _right(self, row: Mapping[str, Any]) -> bool:
        return self.same(row["pseudo_label"], self.gold[row["question_id"]])

    def _categories(self) -> dict[str, Any] | None:
        result = {}
        for category in sorted({category for category in self.categories.values() if category is not None}):
            rows = [row for row in self.questions if row.get("category") == category]
            labelled = [row for row in rows if row["pseudo_label"] is not None and row["question_id"] in self.gold]
            result[category] = {
                "questions": len(rows),
                "without_label": sum(row["failed"] for row in rows) / len(rows),
                "pseudo_labels_right": sum(map(self._right, labelled)) / len(labelled) if labelled else None,
                **_shares(self.by_category[category]),
            }
        return result or None

    def _vote_shares(self) -> dict[str, Any]:
        """Counts of questions by vote share; the last bin holds 1 as well."""
        counts = [0] * BINS
        for row in self.questions:
            counts[min(BINS - 1, int(row["vote_share"] * BINS))] += 1
        return {"bins": BINS, "counts": counts}

    def _lengths(self) -> dict[str, Any] | None:
        if not self.lengths:
            return None
        longest = max(self.lengths)
        width = next((width for width in LENGTH_BINS if longest < width * MOST_BINS), LENGTH_BINS[-1])
        counts: Counter[int] = Counter()
        for length, count in self.lengths.items():
            counts[length // width] += count
        total = sum(self.lengths.values())
        return {
            "unit": self.unit,
            "mean": sum(length * count for length, count in self.lengths.items()) / total,
            "median": median_low(self.lengths.elements()),
            "longest": longest,
            "bin": width,
            "counts": [counts[place] for place in range(max(counts) + 1)] if max(counts) < 2000 else [],
        }


def warn_of_duplicates(statistics: Mapping[str, Any]) -> None:
    """Say so when responses at high temperatures repeat: seeds or temperature may not have reached the model."""
    for temperature, row in statistics["by_temperature"].items():
        if float(temperature) >= ODD_FROM and (row["duplicates"] or 0.0) > ODD_SHARE:
            print(
                f"warning: {row['duplicates']:.0%} of the responses at temperature {temperature} repeat another one; "
                "check that the endpoint uses temperature and seed, unless the teacher is that sure",
                file=sys.stderr,
            )


def share(count: int, n: int) -> dict[str, float] | None:
    """A share with its 95 % interval, `None` of nothing."""
    return interval(count, n) if n else None


def _shares(counts: Mapping[str, int]) -> dict[str, float | None]:
    responses = counts["responses"]
    return {
        "responses": responses,
        "labelled_correct": counts[CORRECT] / counts["labelled"] if counts["labelled"] else None,
        "right": counts["right"] / counts["graded"] if counts["graded"] else None,
        "duplicates": counts["duplicates"] / responses if responses else None,
        "unextractable": counts["unextractable"] / responses if responses else None,
    }


def _order(temperature: str) -> float:
    return float("inf") if temperature == "unknown" else float(temperature)
