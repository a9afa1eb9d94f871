"""What a report says of one table: its rows and their accuracies, and in order what the other modules add."""

from collections.abc import Iterator, Sequence

from ..evaluation.paper_rows import OURS
from ..progress import clock
from .compared import accuracies, chosen, differences, moved_labels, samples, votes
from .curves import draw_training
from .document import Block, Command, Figures, Prose, Section
from .evidence import MeasuredRow
from .pictures import draw_intervals
from .tables import ReportedTable
from .underneath import costs, reward_models


def section_of(table: ReportedTable, rows: Sequence[MeasuredRow], with_votes: bool) -> Section:
    """The part of the report about one table, which begins with the command that makes it; `with_votes` says whether
    its samples tell what votes come to.
    """
    section = Section(table.table, table.title, [Prose(_state(table)), Command(table.command)])
    section.blocks += [*_accuracies(table, rows), _notes(rows), *differences(table, rows), *samples(table, rows)]
    section.blocks += [*chosen(rows), *(votes(rows) if with_votes else ()), *moved_labels(rows)]
    section.blocks += [*reward_models(table.table, rows), *costs(rows), *draw_training(table.table, rows)]
    return section


def _state(table: ReportedTable) -> str:
    seeds = f"{len(table.seeds)} seeds" if len(table.seeds) > 1 else "one seed"
    parts = [f"Task {table.task}, {seeds} ({', '.join(map(str, table.seeds))})."]
    if not table.finished:
        parts.append("Not finished: this is what was there when the report was written.")
    taken, estimated = (table.plan.get(name) for name in ("seconds_taken", "seconds_estimated"))
    if table.finished and taken and estimated:
        parts.append(
            f"Its {table.plan['steps']} steps took {clock(taken)} of work; the plan had said {clock(estimated)}."
        )
    return " ".join(parts)


def _notes(rows: Sequence[MeasuredRow]) -> Figures:
    names: dict[str, list[str]] = {}
    for row in rows:
        names.setdefault(row.note, []).append(row.name)
    told = [[", ".join(named), note] for note, named in names.items()]
    return Figures("What the rows are", ("row", "what it is"), told, words=True)


def _accuracies(table: ReportedTable, rows: Sequence[MeasuredRow]) -> Iterator[Block]:
    answered = [row for row in rows if row.answers]
    if not answered:
        return
    firsts = {first for first, _ in table.comparisons}
    about = firsts.pop() if len(firsts) == 1 else OURS.name
    asked = sorted({len(right) for row in answered for right in row.right.values()})
    questions = " to ".join(f"{n:,}" for n in dict.fromkeys((asked[0], asked[-1])))
    caption = f"Greedy accuracy on {questions} held-out questions a seed: mean over seeds, and each seed"
    made, figures = accuracies(caption, {row.name: row.right for row in answered}, about)
    yield draw_intervals(f"{table.table}-accuracy", made, "Accuracy with its 95 % interval.", "accuracy", about)
    yield figures
