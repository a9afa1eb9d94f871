"""The tables that `hfdistill ablate` leaves: which runs stand in a row, and where what they made is."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import HFDistillError


FORMAT = 1
# The order in which a report tells them; others follow by name.
TOLD_FIRST = ("main", "noise", "fail", "yardstick", "rewards", "baselines", "rm", "source", "lambda", "ratio", "minus")


@dataclass(frozen=True)
class ReportedSeed:
    """One run of a row: where its figures are.

    Attributes:
        results (`str`, *optional*): dataset with its answers; a row of reward models alone has none.
        row (`str`, *optional*): its name in there.
        artifacts (`dict[str, str]`): what it was made with and from, a reference by the kind's name.
    """

    results: str | None
    row: str | None
    artifacts: dict[str, str]


@dataclass(frozen=True)
class ReportedRow:
    """A row of a table: a method, run with several seeds.

    Attributes:
        name (`str`), note (`str`): what it is called, and what it is in words.
        baseline (`bool`): whether it is there to be compared with.
        seeds (`dict[int, ReportedSeed]`): those that are finished.
    """

    name: str
    note: str
    baseline: bool
    seeds: dict[int, ReportedSeed]


@dataclass(frozen=True)
class ReportedTable:
    """A table as it was declared, as far as its runs are finished.

    Attributes:
        table (`str`), title (`str`), command (`str`): its name, what it shows, and what makes it.
        run (`str`), task (`str`): the run that its seeds' names begin with, and whose questions were asked.
        seeds (`tuple[int, ...]`): all that were asked for.
        finished (`bool`): whether all of them are there.
        rows (`tuple[ReportedRow, ...]`): in order.
        comparisons (`tuple[tuple[str, str], ...]`): names of rows: the first is compared with the second.
        plan (`dict`): `seconds_estimated`, `seconds_taken`, `steps`.
    """

    table: str
    title: str
    command: str
    run: str
    task: str
    seeds: tuple[int, ...]
    finished: bool
    rows: tuple[ReportedRow, ...]
    comparisons: tuple[tuple[str, str], ...]
    plan: dict[str, Any]

    def row(self, name: str) -> ReportedRow | None:
        """The row of this name, if the table has one."""
        return next((row for row in self.rows if row.name == name), None)


def read_tables(folder: Path) -> list[ReportedTable]:
    """Read every table of a folder, `{table}.json` each.

    Raises:
        [`~hfdistill.errors.HFDistillError`]: if there is none, or one cannot be read.
    """
    tables = [read_table(path) for path in sorted(folder.glob("*.json"))]
    if not tables:
        raise HFDistillError(f"{folder} has no tables: `hfdistill ablate CONFIG --table main` writes one")
    places = {name: place for place, name in enumerate(TOLD_FIRST)}
    return sorted(tables, key=lambda table: (places.get(table.table, len(places)), table.table))


def read_table(path: Path) -> ReportedTable:
    """Read one table.

    Raises:
        [`~hfdistill.errors.HFDistillError`]: if it is no JSON, of another format, or lacks something.
    """
    again = "delete it and let `hfdistill ablate` write it again"
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if (found := content["format"]) != FORMAT:
            raise HFDistillError(f"{path} is of format {found!r}, and this version knows format {FORMAT}: {again}")
        return ReportedTable(
            **{name: content[name] for name in ("table", "title", "command", "run", "task", "finished", "plan")},
            seeds=tuple(content["seeds"]),
            rows=tuple(_row(row) for row in content["rows"]),
            comparisons=tuple((first, second) for first, second in content["comparisons"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise HFDistillError(f"{path} is no table of ablations ({error!r}): {again}") from error


def _row(content: dict[str, Any]) -> ReportedRow:
    seeds = {
        int(seed): ReportedSeed(made.get("results"), made.get("row"), made["artifacts"])
        for seed, made in content["seeds"].items()
    }
    return ReportedRow(content["name"], content["note"], content["baseline"], dict(sorted(seeds.items())))
