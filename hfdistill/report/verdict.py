"""What distilling rewards added, in plain words that the intervals choose: nobody writes them by hand."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import mean

from ..evaluation.paper_rows import ALL_DATA, OURS, WITHOUT_REWARD
from ..kinds import LABELS
from .document import Finding
from .evidence import MeasuredRow
from .numbers import points
from .statistics import Difference, best_with_and_without_model, compare, groups
from .tables import ReportedTable
from .votes import table_of_votes, vote_differences


Measured = tuple[ReportedTable, Sequence[MeasuredRow]]


@dataclass(frozen=True)
class Claim:
    """A comparison that the first words tell.

    Attributes:
        subject (`str`): what is compared.
        against (`str`): and with what.
        of (`str`): on which answers.
        found ([`~hfdistill.report.statistics.Difference`]): how they fared.
        by (`str`): the rows that stand for the two, where they were chosen among several.
        labels (`str`): how good the labels are that these learned from.
    """

    subject: str
    against: str
    of: str
    found: Difference
    by: str = ""
    labels: str = ""


METHOD = "Distilling rewards"
IN_THE_VOTE = "As a weight in the vote of several samples the reward model"
VERBS = ((1, "is better than"), (-1, "is worse than"), (0, "shows no difference to"))
GREEDY, ONE_SAMPLE = "greedy answers", "one sample"
# Tables whose labels are wrong or missing, where a reward model may know better than the vote.
POOR_LABELS = ("fail", "noise")
SMALL_VOTES = 8  # where samples are few, their vote has most to gain


def first_words(tables: Sequence[Measured]) -> list[Finding]:
    """Whether distilling rewards helped, against what, and by how much: a sentence each for what it is better than,
    worse than, and not shown to differ from, and one about the intervals. What no table can tell is left out.
    """
    claims = list(_claims(tables))
    if not claims:
        return [Finding("None of these tables compares a distilled reward with anything else.")]
    findings = []
    for subject in (METHOD, IN_THE_VOTE):
        name = subject
        for reading, verb in VERBS:
            told: dict[tuple[str, str], list[Claim]] = {}
            for claim in claims:
                if claim.subject == subject and claim.found.verdict == reading:
                    told.setdefault((claim.against, claim.labels), []).append(claim)
            if told:
                listed = _listed(_clauses(list(told.values()), claims), "and" if reading else "or")
                findings.append(Finding(f"{name} {verb} {listed}.", tuple(map(_figures, told.values()))))
                name = "It"
    return [*findings, Finding(_seeds(claims))]


def _clauses(told: Sequence[Sequence[Claim]], claims: Sequence[Claim]) -> list[str]:
    """What a sentence compares with, once for all labels; on which answers, too, where others of the same comparison
    came out otherwise.
    """
    clauses: dict[str, list[str]] = {}
    for found in told:
        first = found[0]
        apart = len(found) < sum((one.against, one.labels) == (first.against, first.labels) for one in claims)
        answers = f" in {' and '.join(claim.of for claim in found)}" if apart else ""
        clauses.setdefault(first.against + answers, []).append(first.labels)
    return [f"{words} ({'; '.join(labels)})" if any(labels) else words for words, labels in clauses.items()]


def _figures(told: Sequence[Claim]) -> str:
    by = f", by {told[0].by}, chosen on validation questions" if told[0].by else ""
    measured = (
        f"{claim.of} {points(claim.found.value)} [{points(claim.found.low)}, {points(claim.found.high)}]"
        for claim in told
    )
    labels = f" ({told[0].labels})" if told[0].labels else ""
    return f"Against {told[0].against}{labels}{by}: {'; '.join(measured)}"


def labels_in_words(row: MeasuredRow) -> str:
    """How good the labels are that a row learned from, as measured against golds."""
    right = row.figure(LABELS.name, "metrics", "pseudo_labels_right", "value")
    missing = row.figure(LABELS.name, "metrics", "without_label", "value")
    words = [f"{100 * (1 - mean(right.values())):.0f} % wrong"] if right else []
    words += [f"{100 * mean(missing.values()):.0f} % missing"] if missing else []
    return ", ".join(words) or str(row.labels)


def _claims(tables: Sequence[Measured]) -> Iterator[Claim]:
    by_name = {table.table: rows for table, rows in tables}
    yield from _of_the_method(by_name.get("main", ()))
    told: set[str] = set()  # labels, which tables may share
    for name in POOR_LABELS:
        yield from _of_the_best([row for row in by_name.get(name, ()) if row.labels not in told])
        told |= {row.labels for row in by_name.get(name, ()) if row.labels}
    with_votes = table_of_votes(tables)
    yield from _of_the_votes(by_name[with_votes] if with_votes else ())


def _of_the_method(rows: Sequence[MeasuredRow]) -> Iterator[Claim]:
    by_name = {row.name: row for row in rows}
    others = {
        "imitation alone": by_name.get(WITHOUT_REWARD.name),
        "SFT on all answers": by_name.get(ALL_DATA.name),
        "PPO on the vote's labels without a reward model": next((row for row in rows if row.is_vote), None),
    }
    for words, row in others.items():
        for sampled, answers in ((False, GREEDY), (True, ONE_SAMPLE)):
            if OURS.name in by_name and row and (found := compare(by_name[OURS.name], row, sampled)):
                yield Claim(METHOD, words, answers, found)


def _of_the_best(rows: Sequence[MeasuredRow]) -> Iterator[Claim]:
    for best, without in filter(None, map(best_with_and_without_model, groups(rows))):
        against, by = "PPO on the vote's labels", f"“{best.name}”"
        if not without.is_vote:
            against, by = "the best without a reward model", f"{by} against “{without.name}”"
        for sampled, answers in ((False, GREEDY), (True, ONE_SAMPLE)):
            if found := compare(best, without, sampled):
                yield Claim(METHOD, against, answers, found, by, labels_in_words(without))


def _of_the_votes(rows: Sequence[MeasuredRow]) -> Iterator[Claim]:
    sampled = [row for row in rows if row.sampled_right]
    for row in [row for row in sampled if row.name in (WITHOUT_REWARD.name, OURS.name)] or sampled[:1]:
        for count, found in vote_differences(row, "weighted").items():
            if count <= SMALL_VOTES:
                yield Claim(IN_THE_VOTE, f"the majority of the samples of {row.name}", f"{count} samples", found)


def _listed(clauses: Sequence[str], last: str) -> str:
    return ", ".join(clauses[:-1]) + (f" {last} " if len(clauses) > 1 else "") + clauses[-1]


def _seeds(claims: Sequence[Claim]) -> str:
    counts = sorted({len(claim.found.by_seed) for claim in claims})
    seeds = f"{counts[0]} seeds" if len(counts) == 1 else f"{counts[0]} to {counts[-1]} seeds"
    if counts[-1] == 1:
        return (
            "In points of accuracy, with 95 % intervals over the questions of one seed, which say nothing of others."
        )
    return f"In points of accuracy, with 95 % intervals over {seeds} and their questions."
