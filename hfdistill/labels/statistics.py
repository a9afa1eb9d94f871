"""What the paper shows of the teacher (Figures 3 and 4), and what tells a good labelling run from a bad one."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..intervals import interval
from ..plots import new_figure, save
from .labeler import CORRECT, INCORRECT


BINS = 20
LENGTH_BIN = 50
GOOD, BAD, PLAIN = "#e8b93c", "#4f9d69", "#6f9bd1"


class TeacherStatistics:
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
        """All figures, ready for JSON; see [`teacher_statistics`]."""
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
        groups: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
        for row in self.questions:
            if row.get("category") is not None:
                groups[row["category"]].append(row)
        result = {}
        for category in sorted(groups):
            rows = groups[category]
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
        counts: Counter[int] = Counter()
        for length, count in self.lengths.items():
            counts[length // LENGTH_BIN] += count
        total = sum(self.lengths.values())
        return {
            "unit": self.unit,
            "mean": sum(length * count for length, count in self.lengths.items()) / total,
            "median": _quantile(self.lengths, total, 0.5),
            "longest": max(self.lengths),
            "bin": LENGTH_BIN,
            "counts": [counts[place] for place in range(max(counts) + 1)] if max(counts) < 2000 else [],
        }


def teacher_statistics(
    responses: Iterable[Mapping[str, Any]],
    questions: Sequence[Mapping[str, Any]],
    gold: Mapping[str, str] | None = None,
    same: Callable[[str, str], bool] | None = None,
) -> dict[str, Any]:
    """The figures of the teacher's evaluation.

    Args:
        responses (`Iterable[Mapping]`): rows of the config `responses`; read once.
        questions (`Sequence[Mapping]`): rows of the config `questions`.
        gold (`Mapping[str, str]`, *optional*): canonical golds by question id.
        same (`Callable`, *optional*): the task's equality.

    Returns:
        `dict`: `without_label` (Figure 3), `labels_against_gold` (Figure 4), `pseudo_labels_right`, `unextractable`,
        `by_temperature`, `by_category`, `vote_shares`, `finish_reasons`, `lengths`. Shares with an interval are
        `{"value", "low", "high", "n"}`.
    """
    statistics = TeacherStatistics(questions, gold, same)
    for row in responses:
        statistics.add(row)
    return statistics.result()


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


def _quantile(counts: Mapping[int, int], total: int, share: float) -> int:
    reached = 0
    for value in sorted(counts):
        reached += counts[value]
        if reached >= share * total:
            return value
    raise ValueError("no values")


def draw(statistics: Mapping[str, Any], folder: str | Path) -> list[Path]:
    """Draws the figures as PNG.

    Args:
        statistics (`Mapping`): from [`teacher_statistics`].
        folder (`str` or `Path`): made if need be.

    Returns:
        `list[Path]`: the files, those of which there was something to draw.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    drawn = []
    for name, plot in PLOTS.items():
        figure = plot(statistics)
        if figure is not None:
            save(figure, folder / f"{name}.png")
            drawn.append(folder / f"{name}.png")
    return drawn


def _without_label(statistics: Mapping[str, Any]) -> Any:
    """Figure 3, by category where there are categories."""
    whole = statistics.get("without_label")
    if whole is None:
        return None
    shares = {"all questions": whole["value"]}
    for category, row in statistics.get("by_category", {}).items():
        shares[f"{category} ({row['questions']:,})"] = row["without_label"]
    figure, axes = new_figure(6.4, 0.9 + 0.3 * len(shares))
    names = list(shares)[::-1]
    axes.barh(names, [shares[name] for name in names], color=[PLAIN] * (len(names) - 1) + ["#30343a"])
    for name in names:
        axes.text(shares[name] + 0.01, name, f"{shares[name]:.1%}", va="center", fontsize=8)
    axes.set_xlim(0, 1.1)
    axes.set_xlabel("share of questions without a reliable label")
    axes.set_title(f"The teacher's vote settles on no answer (n = {whole['n']:,})", loc="left", fontsize=10)
    return figure


def _against_gold(statistics: Mapping[str, Any]) -> Any:
    """Figure 4: what the teacher takes for incorrect and correct, by gold."""
    table = statistics.get("labels_against_gold")
    if table is None:
        return None
    figure, axes = new_figure(5.2, 3.4)
    names = [INCORRECT, CORRECT]
    right = [table[name]["right"] for name in names]
    wrong = [table[name]["wrong"] for name in names]
    axes.bar(names, right, color=GOOD, width=0.6, label="right by gold")
    axes.bar(names, wrong, bottom=right, color=BAD, width=0.6, label="wrong by gold")
    for place, (good, bad) in enumerate(zip(right, wrong, strict=True)):
        if good + bad:
            axes.text(place, good + bad, f"{good / (good + bad):.1%} right", ha="center", va="bottom", fontsize=9)
    axes.set_ylabel("responses")
    axes.set_xlabel("label by the teacher's vote")
    axes.margins(y=0.12)
    axes.legend(frameon=False, fontsize=9)
    axes.set_title("The teacher's labels against gold", loc="left", fontsize=10)
    return figure


def _vote_shares(statistics: Mapping[str, Any]) -> Any:
    shares = statistics["vote_shares"]
    if not sum(shares["counts"]):
        return None
    figure, axes = new_figure(6.4, 3.0)
    width = 1 / shares["bins"]
    axes.bar(
        [(place + 0.5) * width for place in range(shares["bins"])], shares["counts"], width=width * 0.9, color=PLAIN
    )
    axes.set_xlabel("share of the votes for the leading answer")
    axes.set_ylabel("questions")
    axes.set_title("How sure the vote is", loc="left", fontsize=10)
    return figure


def _by_temperature(statistics: Mapping[str, Any]) -> Any:
    rows = {name: row for name, row in statistics["by_temperature"].items() if name != "unknown"}
    if not rows:
        return None
    figure, axes = new_figure(6.4, 3.2)
    lines = (
        ("right", "right by gold", GOOD),
        ("labelled_correct", "correct by label", PLAIN),
        ("duplicates", "duplicates", "#d1632a"),
        ("unextractable", "without answer", "#8a8f98"),
    )
    for key, label, colour in lines:
        points = [(float(name), row[key]) for name, row in rows.items() if row[key] is not None]
        if points:
            axes.plot(*zip(*points, strict=True), marker="o", markersize=4, color=colour, label=label)
    axes.set_ylim(-0.03, 1.03)
    axes.set_xlabel("temperature")
    axes.set_ylabel("share of responses")
    axes.legend(frameon=False, fontsize=9)
    axes.set_title("Responses by temperature", loc="left", fontsize=10)
    return figure


def _lengths(statistics: Mapping[str, Any]) -> Any:
    lengths = statistics.get("lengths")
    if not lengths or not lengths["counts"]:
        return None
    figure, axes = new_figure(6.4, 3.0)
    step = lengths["bin"]
    axes.bar(
        [(place + 0.5) * step for place in range(len(lengths["counts"]))],
        lengths["counts"],
        width=step * 0.9,
        color=PLAIN,
    )
    axes.axvline(lengths["median"], color="#30343a", linewidth=1)
    axes.set_xlabel(f"{lengths['unit']} a response (line: median, {lengths['median']:,})")
    axes.set_ylabel("responses")
    axes.set_title("Lengths", loc="left", fontsize=10)
    return figure


def _finish_reasons(statistics: Mapping[str, Any]) -> Any:
    reasons = statistics["finish_reasons"]
    if not reasons or set(reasons) == {"unknown"}:
        return None
    figure, axes = new_figure(6.4, 0.9 + 0.35 * len(reasons))
    names = sorted(reasons, key=reasons.__getitem__)
    total = sum(reasons.values())
    axes.barh(names, [reasons[name] / total for name in names], color=PLAIN, height=0.6)
    for name in names:
        axes.text(reasons[name] / total + 0.01, name, f"{reasons[name]:,}", va="center", fontsize=9)
    axes.set_xlim(0, 1.15)
    axes.set_xlabel("share of responses")
    axes.set_title("Why responses ended", loc="left", fontsize=10)
    return figure


PLOTS = {
    "without_label": _without_label,
    "labels_against_gold": _against_gold,
    "vote_shares": _vote_shares,
    "by_temperature": _by_temperature,
    "lengths": _lengths,
    "finish_reasons": _finish_reasons,
}
