"""What distilling rewards added, in plain words that the intervals choose: nobody writes them by hand."""

from collections.abc import Iterator, Sequence
from statistics import mean

from ..evaluation.paper_rows import ALL_DATA, OURS, WITHOUT_REWARD
from .evidence import MeasuredRow
from .numbers import points
from .statistics import Difference, best_with_model, compare, groups
from .tables import ReportedTable
from .votes import vote_differences


Measured = tuple[ReportedTable, Sequence[MeasuredRow]]
Claim = tuple[str, Difference]  # what distilled rewards are compared with, and how they fared

# Tables whose labels are wrong or missing, where a reward model may know better than the vote.
POOR_LABELS = ("noise", "fail")
SMALL_VOTES = 8  # where samples are few, their vote has most to gain


def first_words(tables: Sequence[Measured]) -> list[str]:
    """Whether distilling rewards helped, against what, and by how much: a sentence each for what it is better than,
    worse than, and not shown to differ from, and one about the intervals. What no table can tell is left out.
    """
    claims = list(_claims(tables))
    if not claims:
        return ["None of these tables compares a distilled reward with anything else."]
    sentences = []
    for reading, beginning in ((1, "is better than"), (-1, "is worse than"), (0, "shows no difference to")):
        told = [f"{against} ({_measured(found)})" for against, found in claims if found.verdict == reading]
        if told:
            subject = "It" if sentences else "Distilling rewards"
            sentences.append(f"{subject} {beginning} {listed(told)}.")
    return [*sentences, _seeds(claims)]


def listed(clauses: Sequence[str]) -> str:
    """Clauses joined as in a sentence."""
    return "; ".join(clauses[:-1]) + ("; and " if len(clauses) > 1 else "") + clauses[-1]


def labels_in_words(row: MeasuredRow) -> str:
    """How good the labels are that a row learned from, as measured against golds."""
    right = row.figure("labels", "metrics", "pseudo_labels_right", "value")
    missing = row.figure("labels", "metrics", "without_label", "value")
    words = []
    if right:
        words.append(f"{100 * (1 - mean(right.values())):.0f} % of the labels are wrong")
    if missing:
        words.append(f"{100 * mean(missing.values()):.0f} % of the questions have none")
    return " and ".join(words) or f"the labels are {row.labels}"


def _claims(tables: Sequence[Measured]) -> Iterator[Claim]:
    by_name = {table.table: rows for table, rows in tables}
    yield from _of_the_method(by_name.get("main", ()))
    for name in POOR_LABELS:
        yield from _of_the_best(by_name.get(name, ()))
    with_votes = [name for name, rows in by_name.items() if any(any(row.samples.values()) for row in rows)]
    yield from _of_the_votes(by_name["main" if "main" in with_votes else with_votes[0]] if with_votes else ())


def _of_the_method(rows: Sequence[MeasuredRow]) -> Iterator[Claim]:
    by_name = {row.name: row for row in rows}
    others = {
        "imitation alone": by_name.get(WITHOUT_REWARD.name),
        "SFT on all answers": by_name.get(ALL_DATA.name),
        "PPO on the vote's labels without a reward model": next((row for row in rows if row.is_vote), None),
    }
    for words, row in others.items():
        if OURS.name in by_name and row and (found := compare(by_name[OURS.name], row)):
            yield words, found


def _of_the_best(rows: Sequence[MeasuredRow]) -> Iterator[Claim]:
    for group in groups(rows):
        pair = best_with_model(group)
        if pair and (found := compare(*pair)):
            best, vote = pair
            yield f"the vote alone where {labels_in_words(vote)}, by the row “{best.name}”", found


def _of_the_votes(rows: Sequence[MeasuredRow]) -> Iterator[Claim]:
    for row in rows:
        for count, found in vote_differences(row, "weighted").items():
            if count <= SMALL_VOTES:
                yield f"the majority of {count} samples of {row.name}, as a weight in their vote", found


def _measured(found: Difference) -> str:
    return f"{points(found.value)} points [{points(found.low)}, {points(found.high)}]"


def _seeds(claims: Sequence[Claim]) -> str:
    counts = sorted({len(found.by_seed) for _, found in claims})
    seeds = f"{counts[0]} seeds" if len(counts) == 1 else f"{counts[0]} to {counts[-1]} seeds"
    if counts[-1] == 1:
        return "One seed was run, which says nothing of others; in brackets: 95 % intervals over its questions."
    return f"In brackets: 95 % intervals over {seeds} and their questions."
