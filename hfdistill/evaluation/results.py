"""Write the results of an evaluation into the folder that becomes the dataset `{run}-results`."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..kinds import RESULTS
from ..plots import accuracy_bars
from ..rows import write_rows
from .paired import paired_difference
from .paper_rows import in_order


def write_results(
    folder: Path,
    graded: Sequence[Mapping[str, Any]],
    metrics: dict[str, dict[str, Any]],
    ours: str,
    baseline: str,
    samples: Sequence[Mapping[str, Any]] = (),
) -> list[str]:
    """Write `results/`, `responses/` and, if there are any, `samples/` as Parquet and a plot a task, and return the
    names of the plots.

    To the metrics, by task and row, a row `"{ours} minus {baseline}"` with their paired `difference` is added for each
    task that has both.
    """
    table = [
        {"task": task, "row": row, **flat(figures)} for task, rows in metrics.items() for row, figures in rows.items()
    ]
    write_rows(folder, RESULTS, "results", table)
    write_rows(folder, RESULTS, "responses", graded)
    if samples:
        write_rows(folder, RESULTS, "samples", samples)

    plots = []
    for task, rows in metrics.items():
        path = folder / f"accuracy-{task}.png"
        first = next(iter(rows.values()))
        what = "answers that the judge calls good, of" if "undecided" in first else "greedy accuracy on"
        shown = {name: rows[name] for name in in_order(list(rows))}
        accuracy_bars(shown, path, f"{task}: {what} {first['n']} test questions")
        plots.append(path.name)
        if ours in rows and baseline in rows:
            right = {
                name: [bool(row["correct"]) for row in graded if (row["task"], row["row"]) == (task, name)]
                for name in (ours, baseline)
            }
            rows[f"{ours} minus {baseline}"] = {"difference": paired_difference(right[ours], right[baseline])}
    return plots


def flat(figures: dict[str, Any]) -> dict[str, Any]:
    """A row's figures as columns: `answerable` is spread over `answerable`, `answerable_low`, … `_high` and `_n`."""
    answerable = figures.get("answerable", {})
    spread = {"answerable" if key == "value" else f"answerable_{key}": value for key, value in answerable.items()}
    return {**figures, "answerable": None, **spread}
