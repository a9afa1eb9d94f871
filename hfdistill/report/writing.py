"""Write the report on a folder of tables: report.md with its pictures, and report.html, which stands alone."""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..artifacts.digests import REPORT
from .contents import section_of
from .document import Document, Picture
from .evidence import Evidence, MeasuredRow
from .examples import sections_of_examples
from .markdown import PICTURES, as_markdown
from .page import as_page
from .pictures import as_file
from .tables import ReportedTable, read_tables
from .verdict import first_words
from .votes import table_of_votes


NOTE = (
    "Accuracies are of greedy answers, unless sampled ones are named. An interval is a 95 % percentile bootstrap in "
    "two steps: seeds are drawn anew, and within each its questions; with few seeds it understates the chance of "
    "training. A difference is of answers to the same questions, and is called better or worse where its interval "
    "leaves out zero. McNemar's exact test counts the questions that only one of two rows answers right (of samples: "
    "more often), pooled over seeds, and knows nothing of the chance of training: a small p beside “no difference "
    "shown” says that these trained models differ, and not that the methods do. Holm's adjustment is for all rows of "
    "a table of differences. The best with a reward model, and without, were chosen on validation questions."
)


@dataclass(frozen=True)
class WrittenReport:
    """Where a report was written.

    Attributes:
        folder (`Path`): with `report.md`, `report.html` and `pictures/`.
        summary (`str`): its first lines.
        tables (`tuple[ReportedTable, ...]`): what it is about.
    """

    folder: Path
    summary: str
    tables: tuple[ReportedTable, ...]


def write_report(tables: Path, output: Path | None = None) -> WrittenReport:
    """Write the report on the tables of ablations in a folder.

    Args:
        tables (`Path`): the folder `ablations` in the output of a run.
        output (`Path`, *optional*): folder for the report; that of the tables by default.

    Returns:
        [`WrittenReport`]

    Raises:
        [`~hfdistill.errors.HFDistillError`]: if there are no tables, or something that they name cannot be read.
    """
    from huggingface_hub.utils import disable_progress_bars

    disable_progress_bars()  # what is fetched is small, and many
    output, evidence = output or tables, Evidence()
    measured = [(table, evidence.measure(table)) for table in read_tables(tables)]
    document = compose(measured)
    output.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(output / PICTURES, ignore_errors=True)
    for block in (block for section in document.sections for block in section.blocks):
        if isinstance(block, Picture):
            (output / PICTURES).mkdir(exist_ok=True)
            (output / PICTURES / f"{block.name}.svg").write_text(as_file(block), encoding="utf-8")
    for name, write in zip(REPORT, (as_markdown, as_page), strict=True):
        (output / name).write_text(write(document), encoding="utf-8")
    lines = [line for found in document.summary for line in (found.text, *(f"  {figure}" for figure in found.figures))]
    return WrittenReport(output, "\n".join(lines), tuple(table for table, _ in measured))


def is_up_to_date(folder: Path) -> bool:
    """Whether the report in a folder was written after all of its tables."""
    written = [folder / name for name in REPORT]
    if not all(path.is_file() for path in written):
        return False
    newest = max(path.stat().st_mtime_ns for path in folder.glob("*.json"))
    return min(path.stat().st_mtime_ns for path in written) >= newest


def compose(measured: Sequence[tuple[ReportedTable, Sequence[MeasuredRow]]]) -> Document:
    """The document about tables; examples are those of the first table that has some."""
    of_votes = table_of_votes(measured)
    sections = [section_of(table, rows, table.table == of_votes) for table, rows in measured]
    told = {section.anchor for section in sections}
    for _, rows in measured:
        for section in sections_of_examples(rows):
            if section.anchor not in told:
                told.add(section.anchor)
                sections.append(section)
    titles = {table.run: table.task for table, _ in measured}
    title = "What distilling rewards adds: " + ", ".join(f"{run} ({task})" for run, task in titles.items())
    return Document(title, first_words(measured), NOTE, sections)
