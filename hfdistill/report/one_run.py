"""The tables of a report on one or several finished runs: the paper's rows with intervals, and the order of rows."""

import itertools
from collections.abc import Mapping, Sequence
from statistics import mean
from typing import TYPE_CHECKING, Any

from ..evaluation.paper_rows import OURS, in_order
from ..kinds import LABELS, POLICY, RESULTS, REWARD


if TYPE_CHECKING:
    from rich.table import Table

# What a report is made from.
REPORTED = (RESULTS, LABELS, REWARD, POLICY)
BRACKETS = " [95 % interval]"


def summarise(task: str, manifests: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Collect what a report shows of one run.

    Args:
        task (`str`): whose rows to show.
        manifests (`Mapping[str, Mapping]`): manifests of [`REPORTED`] by the kind's name.

    Returns:
        `dict`: `seed`, `rows` (by name: `value`, `low`, `high`, `n`), `differences`, `labels`, `reward`, `policy`.
    """
    results = manifests[RESULTS.name]
    table = results["metrics"][task]
    return {
        "run": results["run"],
        "seed": next((made["config"]["seed"] for made in manifests.values() if "seed" in made["config"]), 0),
        "rows": {name: table[name] for name in in_order(table) if "value" in table[name]},
        "differences": {name: row["difference"] for name, row in table.items() if "difference" in row},
        **{kind: made["metrics"] for kind, made in manifests.items() if kind != RESULTS.name},
    }


def accuracy_table(runs: Sequence[Mapping[str, Any]]) -> "Table":
    """The paper's rows as a `rich` table: one run with its interval, several with the mean and each seed's figure,
    whose intervals no line of a terminal has room for.
    """
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    table.add_column("", no_wrap=True)
    headings, rows = accuracy_rows(runs)
    if len(runs) > 1:
        table.caption, table.caption_justify = "by seed; each one's interval is in the written report", "left"
        headings = [heading.removeprefix("seed ").removesuffix(BRACKETS) for heading in headings]
        rows = [[cell.partition(" [")[0] for cell in row] for row in rows]
    for heading in headings[1:]:
        table.add_column(heading, justify="right", no_wrap=True)
    for row in rows:
        table.add_row(*row, style="bold" if row[0] == OURS.name else None)
    return table


def accuracy_rows(runs: Sequence[Mapping[str, Any]]) -> tuple[list[str], list[list[str]]]:
    """Headings and cells of the table of accuracies."""
    names = list(runs[0]["rows"])
    if len(runs) == 1:
        cells = [[name, *_interval(runs[0]["rows"][name]), str(runs[0]["rows"][name]["n"])] for name in names]
        return ["", "accuracy", "95 % interval", "n"], cells
    cells = [
        [name, f"{mean(run['rows'][name]['value'] for run in runs):.3f}"]
        + [" ".join(_interval(run["rows"][name])) for run in runs]
        for name in names
    ]
    return ["", "mean", *(f"seed {run['seed']}{BRACKETS}" for run in runs)], cells


def _interval(row: Mapping[str, Any]) -> list[str]:
    return [f"{row['value']:.3f}", f"[{row['low']:.3f}, {row['high']:.3f}]"]


def order_seen(runs: Sequence[Mapping[str, Any]], names: Sequence[str]) -> list[str]:
    """For each neighbouring pair of rows, the better expected first, in how many runs the first was better."""
    lines = []
    for better, worse in itertools.pairwise(names):
        if all(better in run["rows"] and worse in run["rows"] for run in runs):
            pairs = [(run["rows"][better]["value"], run["rows"][worse]["value"]) for run in runs]
            wins = sum(a > b for a, b in pairs)
            gain = mean(a - b for a, b in pairs)
            lines.append(f"{better} above {worse}: in {wins} of {len(runs)} seeds, by {gain:+.3f} on average")
    return lines


def figure_lines(run: Mapping[str, Any]) -> list[str]:
    """What a run says of its labels, its reward model and its rows' differences, a line each."""
    seed, labels, reward = run["seed"], run["labels"], run["reward"]["validation"]
    lines = [f"seed {seed}: questions without a label (D_fail): {_share(labels['without_label'])}"]
    if "pseudo_labels_right" in labels:
        lines.append(f"seed {seed}: pseudo-labels that are right: {_share(labels['pseudo_labels_right'])}")
    for name, title in (("pos_neg", "Pos/Neg"), ("pos_pos", "Pos/Pos")):
        lines.append(f"seed {seed}: reward model, {title}: {_share(reward[name])}")
    for name, difference in run["differences"].items():
        lines.append(
            f"seed {seed}: {name} on the same questions: {difference['value']:+.3f} "
            f"[{difference['low']:+.3f}, {difference['high']:+.3f}]"
        )
    return lines


def _share(figure: Mapping[str, Any]) -> str:
    return f"{figure['value']:.3f} [{figure['low']:.3f}, {figure['high']:.3f}], n = {figure['n']}"
