"""What a table of a study is: rows, each with what makes its model, and the differences that it is about."""

from dataclasses import dataclass, replace

from ..errors import HFDistillError, unknown


@dataclass(frozen=True)
class Wanted:
    """What a row of a table needs: an artifact, or the triples and the reward model that one stage makes.

    Attributes:
        stage (`str`): whose recipe makes it; `"relabel"` for labels derived from others by `hfdistill relabel`, and
            `"student"` and `"teacher"` for the models that are there before.
        suffix (`str`): appended to its name, and to its step's.
        flags (`tuple[str, ...]`): what differs from the configuration.
        parents (`tuple[tuple[str, Wanted], ...]`): what it is made from, by role.
    """

    stage: str
    suffix: str = ""
    flags: tuple[str, ...] = ()
    parents: tuple[tuple[str, "Wanted"], ...] = ()


@dataclass(frozen=True)
class AblationRow:
    """A row of a table.

    Attributes:
        name (`str`): as the report shows it.
        note (`str`): what it is, in words.
        wanted ([`Wanted`]): the model that answers the test questions, or the reward model.
        baseline (`bool`): whether it stands for what people would use instead.
        lenient (`bool`): whether the model's answers are read leniently, see `evaluate.lenient`.
    """

    name: str
    note: str
    wanted: Wanted
    baseline: bool = False
    lenient: bool = False


@dataclass(frozen=True)
class AblationTable:
    """A table.

    Attributes:
        name (`str`), title (`str`): as it is asked for, and as the report shows it.
        rows (`tuple[AblationRow, ...]`): in order.
        comparisons (`tuple[tuple[str, str], ...]`): the differences that it is about: the first row minus the second.
        samples (`int`, *optional*): so many sampled answers of every row tell what one of them is worth, which greedy
            answers near 1 cannot show. Without it `evaluate.votes` says whose answers are sampled.
    """

    name: str
    title: str
    rows: tuple[AblationRow, ...]
    comparisons: tuple[tuple[str, str], ...] = ()
    samples: int | None = None

    def without(self, names: list[str]) -> "AblationTable":
        """The table without some of its rows."""
        known = [row.name for row in self.rows]
        for name in names:
            if name not in known:
                raise unknown(f"row of table {self.name!r}:", name, known)
        rows = tuple(row for row in self.rows if row.name not in names)
        if not rows:
            raise HFDistillError(f"--without leaves no row of table {self.name!r}: name fewer")
        kept = tuple(pair for pair in self.comparisons if not {*pair} & {*names})
        return replace(self, rows=rows, comparisons=kept)


def want(stage: str, suffix: str = "", *flags: str, **parents: Wanted) -> Wanted:
    """A [`Wanted`], its parents by role."""
    return Wanted(stage, suffix, flags, tuple(parents.items()))


def made_on(labels: Wanted, suffix: str = "", *flags: str, warmup: Wanted | None = None) -> dict[str, Wanted]:
    """Labels, the warm-up on them unless one is given, and the reward model after both, by role; `flags` are the
    reward model's.
    """
    warmup = warmup or want("warmup", suffix, labels=labels)
    return {"labels": labels, "warmup": warmup, "reward": want("reward", suffix, *flags, labels=labels, warmup=warmup)}
