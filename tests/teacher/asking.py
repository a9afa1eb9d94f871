"""A run's asking in this process, against a stand-in endpoint: everything but the labelling of what comes back."""

import sys
from pathlib import Path

from hfdistill.sections import TeacherConfig
from hfdistill.teacher.journal import Journal
from hfdistill.teacher.plan import Grid
from hfdistill.teacher.protocols import Decoding
from hfdistill.teacher.session import collect


sys.path.insert(0, str(Path(__file__).parent))
from sampling_driver import make_plan


GRID = Grid([0.0, 0.3], 2, [1.0], 2)
EACH = GRID.requests


def ask(folder, urls, questions=8, grid=GRID, look=None, sampling=None, **teacher):
    """Fill the journal in a folder; what [`collect`] returns and the journal's rows."""
    config = TeacherConfig(
        teacher.pop("model", "stand-in/teacher"), [urls] if isinstance(urls, str) else urls, **teacher
    )
    with Journal(folder / "journal.sqlite") as journal:
        plan, decoding = make_plan(questions, grid), Decoding(64, () if config.chat else ("\nQ:",))
        asked = collect(journal, config, plan, decoding, look=look, show=False, **(sampling or {}))
        return asked, journal.rows()


def rows_of(folder):
    with Journal(folder / "journal.sqlite") as journal:
        return journal.rows()
