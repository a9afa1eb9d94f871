"""Labelling shared by several processes or machines: each asks for every n-th question, into a journal of its own."""

import dataclasses
import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import HFDistillError
from ..sections import TeacherConfig
from .journal import Journal
from .plan import Plan


@dataclass(frozen=True)
class Shard:
    """One part of a plan: the questions `index - 1`, `index - 1 + count`, … of it.

    Args:
        index (`int`): which, from 1.
        count (`int`): of how many.
    """

    index: int
    count: int

    @classmethod
    def read(cls, text: str) -> "Shard":
        """A shard as it is written, `3/8`.

        Raises:
            [`~hfdistill.errors.HFDistillError`]: if that is no shard.
        """
        found = re.fullmatch(r"(\d+)/(\d+)", text)
        if not found or not 1 <= int(found[1]) <= int(found[2]):
            raise HFDistillError(f"label.shard is {text!r}: it reads 3/8 for the third of eight")
        return cls(int(found[1]), int(found[2]))

    def of(self, plan: Plan) -> Plan:
        """This part of a plan, whose answers belong to the whole one."""
        part = Plan(plan.questions[self.index - 1 :: self.count], plan.render, plan.grid, plan.seed)
        part.whole = plan
        return part

    def share(self, teacher: TeacherConfig) -> TeacherConfig:
        """The teacher with this part's share of what may be bought."""
        requests, cost = teacher.max_requests, teacher.max_cost
        return dataclasses.replace(
            teacher,
            max_requests=requests and math.ceil(requests / self.count),
            max_cost=cost and cost / self.count,
        )

    def journal(self, folder: str | Path) -> Path:
        """Where its answers are kept."""
        return Path(folder) / f"journal-{self.index}-of-{self.count}.sqlite"


def take_shards(folder: str | Path, journal: Journal, wanted: dict[str, Any]) -> None:
    """Take what the shards' journals in a folder hold into the journal of the whole.

    Args:
        folder (`str` or `Path`): of the journals.
        journal ([`~hfdistill.teacher.journal.Journal`]): gets their rows, and the hours that they took.
        wanted (`dict`): prompts and parameters of the whole plan; part of the fingerprint.

    Raises:
        [`~hfdistill.errors.HFDistillError`]: if a shard is still being asked for, or was made otherwise.
    """
    for path in sorted(Path(folder).glob("journal-*-of-*.sqlite")):
        with Journal(path) as part:
            made = part.note("fingerprint")
            if made is None:  # it ended before anybody answered
                continue
            if not made.items() >= wanted.items():
                names = ", ".join(name for name in wanted if made.get(name) != wanted[name])
                raise HFDistillError(
                    f"shard {path} was asked for otherwise ({names}): go back to that setting, or move the file away"
                )
            journal.claim(made)
            journal.add(part.rows())
            seconds, taken = part.note("endpoint_seconds") or 0.0, journal.note("taken") or {}
            spent = (journal.note("endpoint_seconds") or 0.0) + seconds - taken.get(path.name, 0.0)
            journal.set_note("endpoint_seconds", spent)
            journal.set_note("taken", {**taken, path.name: seconds})
