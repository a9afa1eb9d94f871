"""A table for one seed as steps: each a process, shared by all rows and tables that want what it makes."""

import hashlib
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from ..artifacts.store import Store
from ..config import Config, load_config
from ..errors import HFDistillError
from ..evaluation import paper_rows
from ..evaluation.config import EvaluateConfig
from ..flags import stage_class
from ..kinds import KINDS, LABELS, RESULTS, REWARD, STAGES, Kind
from ..sections import RunConfig
from .ablation_tables import MAIN, STUDENT, TEACHER, WITHHELD, ablation_tables
from .ablations import AblationTable, Wanted
from .stages import ON_CPU, recipe_step
from .steps import Step


RELABEL = "relabel"
# What there is before a run.
GIVEN = (STUDENT.stage, TEACHER.stage)
TITLES = {"warmup": "warm-up", "ppo": "PPO"}
# Seconds of a stage, its start included, until one was measured: those of the demo, two steps at once.
SECONDS = {"label": 70.0, RELABEL: 5.0, "warmup": 20.0, "reward": 30.0, "ppo": 50.0, "baseline": 60.0, "evaluate": 4.0}
OF_ANOTHER_STAGE = 120.0


@dataclass(frozen=True)
class SeedSettings:
    """How the steps of one seed are started.

    Attributes:
        config (`str`): path of the YAML file.
        run ([`~hfdistill.sections.RunConfig`]): of this seed: names its artifacts and its folder.
        shared (`tuple[str, ...]`): flags of every stage, `--run.name` and others of the shared sections.
        stages (`Mapping[str, Sequence[str]]`): further flags of some stages.
        accelerate (`tuple[str, ...]`): options of `accelerate launch` for all stages but labelling.
        few_shot (`bool`): whether the base student is asked behind worked examples.
        left_out (`tuple[str, ...]`): rows that the configuration cannot have.
        failing ([`~hfdistill.runs.ablations.Wanted`]): the labels of the table `fail`.
        expected (`Mapping[str, float]`): seconds of a stage that was not measured yet, of evaluation for each row.
    """

    config: str
    run: RunConfig
    shared: tuple[str, ...] = ()
    stages: Mapping[str, Sequence[str]] = field(default_factory=dict)
    accelerate: tuple[str, ...] = ()
    few_shot: bool = False
    left_out: tuple[str, ...] = ()
    failing: Wanted = WITHHELD
    expected: Mapping[str, float] = field(default_factory=lambda: SECONDS)

    @property
    def folder(self) -> Path:
        """Journals, checkpoints and logs of this seed."""
        return Path(self.run.output_dir)

    def table(self, name: str, without: Sequence[str] = ()) -> AblationTable:
        """A table as these settings have it."""
        table = ablation_tables(self.few_shot, self.failing)[name]
        left_out = [row.name for row in table.rows if row.name in self.left_out]
        return table.without([*left_out, *without])


@dataclass(frozen=True)
class GridStep:
    """A step of a grid, and what it makes.

    Attributes:
        step ([`~hfdistill.runs.steps.Step`]): its process.
        stage (`str`): whose recipe, or `"relabel"`.
        kinds (`tuple[Kind, ...]`): what it makes.
        store ([`~hfdistill.artifacts.store.Store`]): where.
        config ([`~hfdistill.config.Config`] or `None`): what it will read; `None` for derived labels.
        reads (`tuple[str, ...]`): the steps whose artifacts it reads; it may wait for others, too.
    """

    step: Step
    stage: str
    kinds: tuple[Kind, ...]
    store: Store
    config: Config | None
    reads: tuple[str, ...]

    @property
    def refs(self) -> dict[str, str]:
        """Where its artifacts are, by kind."""
        return {kind.name: self.store.name(kind) for kind in self.kinds}


class AblationGrid:
    """The steps of a table for one seed, those first that most of the others wait for.

    A [`Wanted`] whose settings come to the same as those of another is that one, so that a row which happens to be
    what the configuration says anyway costs nothing.

    Args:
        table ([`~hfdistill.runs.ablations.AblationTable`]): what is wanted.
        settings ([`SeedSettings`]): of the seed.

    """

    def __init__(self, table: AblationTable, settings: SeedSettings):
        self.table, self.settings = table, settings
        self._errors: dict[str, list[str]] = {}
        self._same: dict[str, Wanted] = {}
        self._settled: dict[Wanted, Wanted] = {}
        self._configs: dict[Wanted, Config] = {}
        self._steps: dict[Wanted, GridStep] = {}
        for wanted in MAIN.values():
            self._known(wanted)
        # Names of models in the results, the same in all tables, so that none answers twice.
        named = [row for row in settings.table("main").rows if not row.lenient]
        self._names = {self._known(row.wanted): row.name for row in named}
        self.wanted = {row.name: self._of_row(row.name, row.wanted) for row in table.rows}
        self.evaluation = self._evaluate()

    @property
    def problems(self) -> list[str]:
        """Why rows cannot be made, a sentence each."""
        return [f"{', '.join(map(repr, rows))}: {error}" for error, rows in self._errors.items()]

    @cached_property
    def steps(self) -> list[GridStep]:
        """In an order in which none comes before what it waits for."""
        steps = [*self._steps.values(), *([self.evaluation] if self.evaluation else [])]
        tails: dict[str, float] = {}
        for made in reversed(steps):
            followers = [tails[other.step.name] for other in steps if made.step.name in other.step.after]
            tails[made.step.name] = made.step.expected + max(followers, default=0.0)
        return sorted(steps, key=lambda made: -tails[made.step.name])

    def row_of(self, name: str) -> str | None:
        """What a row's model is called in the results; `None` for a reward model, which answers nothing."""
        wanted = self.wanted[name]
        if wanted is None or wanted.stage == "reward":
            return None
        known = self._names.get(wanted) or self._steps[wanted].step.name
        lenient = next(row.lenient for row in self.table.rows if row.name == name)
        return f"{known} (lenient)" if lenient else known

    def artifacts(self, name: str) -> dict[str, str]:
        """Where everything is that a row's model was made from, and itself, by kind; where its labels were derived
        from others, those are `teacher_labels`.
        """
        found: dict[str, str] = {}
        for wanted, made in self._needed(name).items():
            if wanted.stage == RELABEL:
                found["teacher_labels"] = found[LABELS.name]
            found |= made.refs
        return found

    def needs(self, name: str, made: GridStep) -> bool:
        """Whether a row's model is made by a step, or from what it makes."""
        return made in self._needed(name).values()

    def store(self, suffix: str) -> Store:
        """Where artifacts with this suffix are."""
        return Store(replace(self.settings.run, suffix=suffix))

    def _needed(self, name: str) -> dict[Wanted, GridStep]:
        """The steps behind a row, each after those that it waits for."""
        found: dict[Wanted, GridStep] = {}

        def walk(wanted: Wanted) -> None:
            for _, parent in wanted.parents:
                walk(parent)
            if wanted in self._steps:
                found.setdefault(wanted, self._steps[wanted])

        if self.wanted[name] is not None:
            walk(self.wanted[name])
        return found

    def _of_row(self, name: str, wanted: Wanted) -> Wanted | None:
        try:
            settled = self._settle(wanted)
            self._make(settled)
        except HFDistillError as error:
            self._errors.setdefault(str(error), []).append(name)
            return None
        return settled

    def _known(self, wanted: Wanted) -> Wanted:
        try:
            return self._settle(wanted)
        except HFDistillError:
            return wanted

    def _settle(self, wanted: Wanted) -> Wanted:
        """The first that was wanted with the same settings and parents."""
        if wanted.stage in GIVEN:
            return wanted
        if wanted in self._settled:
            return self._settled[wanted]
        settled = replace(wanted, parents=tuple((role, self._settle(parent)) for role, parent in wanted.parents))
        decides: Any = settled.flags
        if wanted.stage != RELABEL:
            config = self._configs[settled] = self._config(settled)
            decides = {kind.name: config.identity(kind) for kind in kinds_of(wanted.stage)}
        key = json.dumps([wanted.stage, decides, repr(settled.parents)], sort_keys=True, default=str)
        self._settled[wanted] = self._same.setdefault(key, settled)
        return self._settled[wanted]

    def _config(self, wanted: Wanted) -> Config:
        if wanted.stage not in STAGES:
            raise HFDistillError(f"there is no stage {wanted.stage!r}: this version of hfdistill has not its recipe")
        return load_config(wanted.stage, stage_class(wanted.stage), self._arguments(wanted))

    def _arguments(self, wanted: Wanted) -> list[str]:
        settings = self.settings
        arguments = ["--config", settings.config, *settings.shared, *_teacher_of(wanted)]
        arguments += ["--run.suffix", wanted.suffix] if wanted.suffix else []
        arguments += [*settings.stages.get(wanted.stage, ()), *wanted.flags]
        for role, parent in wanted.parents:
            arguments += self._parent_flags(role, parent)
        if wanted.stage == "reward" and wanted.suffix:
            # Samples of one student are in one journal, whatever is learned from them.
            arguments += ["--output_dir", str(settings.folder / "reward")]
        return arguments

    def _parent_flags(self, role: str, parent: Wanted) -> list[str]:
        if parent.stage in GIVEN:
            return [f"--{role}", self._given(parent)]
        if not parent.suffix:
            return []
        store = self.store(parent.suffix)
        return [word for kind in kinds_of(parent.stage) for word in (f"--{kind.name}", store.name(kind))]

    def _given(self, wanted: Wanted) -> str:
        """The base student or the teacher, as the stages will read of it."""
        settings = self.settings
        flags = [*settings.shared, *settings.stages.get(RESULTS.stage, ())]
        config = load_config(RESULTS.stage, stage_class(RESULTS.stage), ["--config", settings.config, *flags])
        if wanted.stage == STUDENT.stage:
            return config.student.ref
        if config.teacher is None:
            raise HFDistillError("the configuration has no section 'teacher': add the model whose weights are meant")
        return config.teacher.model

    def _make(self, wanted: Wanted) -> None:
        """Add the step that makes it, after those of what it is made from."""
        if wanted.stage in GIVEN or wanted in self._steps:
            return
        for _, parent in wanted.parents:
            self._make(parent)
        reads = tuple(self._steps[parent].step.name for _, parent in wanted.parents if parent in self._steps)
        after = reads
        if wanted.stage == "reward":
            # One after the other, since a journal is open to one process.
            others = [
                made.step.name
                for other, made in self._steps.items()
                if other.stage == "reward" and dict(other.parents)["warmup"] == dict(wanted.parents)["warmup"]
            ]
            after = tuple(dict.fromkeys([*reads, *others[-1:]]))
        name = f"{TITLES.get(wanted.stage, wanted.stage)} {wanted.suffix.lstrip('-')}".strip()
        store = self.store(wanted.suffix)
        if wanted.stage == RELABEL:
            step = self._relabel(wanted, name, after, store)
            self._steps[wanted] = GridStep(step, RELABEL, (LABELS,), store, None, reads)
            return
        step = self._recipe(wanted.stage, self._arguments(wanted), name, after)
        config = self._configs[wanted]
        self._steps[wanted] = GridStep(step, wanted.stage, kinds_of(wanted.stage), store, config, reads)

    def _recipe(self, stage: str, arguments: Sequence[str], name: str, after: tuple[str, ...]) -> Step:
        single = ON_CPU if stage == LABELS.stage else self.settings.accelerate
        expected = self._expected(stage) * (len(self.table.rows) if stage == RESULTS.stage else 1)
        return recipe_step(stage, arguments, single, name, after, expected, self._inputs(stage))

    def _relabel(self, wanted: Wanted, name: str, after: tuple[str, ...], store: Store) -> Step:
        run = self.settings.run
        (_, parent), = wanted.parents  # fmt: skip
        command = [sys.executable, "-m", "hfdistill", RELABEL, self.store(parent.suffix).name(LABELS)]
        command += ["--output", store.name(LABELS), *(["--push"] if run.push else []), *wanted.flags]
        command += ["--private"] if run.push and run.private else []
        command += ["--seed", str(run.seed)] if "--noise" in wanted.flags else []
        return Step(name, command, after, self._expected(RELABEL), self._inputs(RELABEL))

    def _evaluate(self) -> GridStep | None:
        """The table's models answer the test questions; rows that an earlier table answered are kept."""
        answering, lenient = {}, []
        for row in self.table.rows:
            wanted = self.wanted[row.name]
            if wanted is not None and wanted.stage != "reward":
                name = self.row_of(row.name).removesuffix(" (lenient)")
                answering[name] = wanted
                lenient += [name] if row.lenient else []
        teacher = answering.pop(paper_rows.TEACHER.name, None) is not None
        if not answering:
            return None
        settings, suffix = self.settings, f"-{self.table.name}" if self.table.name else ""
        models = [f"{name}={self._ref(wanted)}" for name, wanted in answering.items()]
        few_shot = [name for name in (paper_rows.BASE.name, paper_rows.WITHOUT_DATA.name) if name in answering]
        arguments = ["--config", settings.config, *settings.shared, *(["--run.suffix", suffix] if suffix else [])]
        arguments += [*settings.stages.get(RESULTS.stage, ()), "--models", *models, "--teacher", str(teacher).lower()]
        arguments += ["--few_shot", *few_shot] if settings.few_shot and few_shot else []
        arguments += ["--output_dir", str(settings.folder / RESULTS.stage)]
        after = tuple(self._steps[wanted].step.name for wanted in answering.values() if wanted in self._steps)
        try:
            config = load_config(RESULTS.stage, stage_class(RESULTS.stage), arguments)
            arguments += self._of_these_rows(config.stage, list(answering), lenient)
            config = load_config(RESULTS.stage, stage_class(RESULTS.stage), arguments)
        except HFDistillError as error:
            self._errors.setdefault(str(error), []).append(RESULTS.stage)
            return None
        if config.stage.votes:
            after = tuple(dict.fromkeys([*after, self._judge.step.name]))
        step = self._recipe(RESULTS.stage, arguments, f"{RESULTS.stage} {self.table.name}".strip(), after)
        return GridStep(step, RESULTS.stage, (RESULTS,), self.store(suffix), config, after)

    def _of_these_rows(self, stage: EvaluateConfig, names: list[str], lenient: list[str]) -> list[str]:
        """What the configuration says of rows, as far as the table has them; votes need one that is sampled, and a
        reward model, which weighs them. A table may have all of its rows sampled.
        """
        flags = []
        if (read := [name for name in names if name in {*lenient, *stage.lenient}]) != stage.lenient:
            flags += ["--evaluate.lenient", *(read or ["[]"])]
        judge = self._judge
        if stage.votes and judge and judge.store.run.suffix:
            flags += ["--reward", judge.refs[REWARD.name]]
        if stage.votes and judge and self.table.samples:
            return [*flags, "--evaluate.votes", str(self.table.samples), "--evaluate.vote_rows", *names]
        sampled = [name for name in names if stage.votes_on(name)]
        if stage.votes and not (sampled and judge):
            flags += ["--evaluate.votes", "[]"]
        if stage.vote_rows is not None and sampled != stage.vote_rows:
            flags += ["--evaluate.vote_rows", *(sampled or ["[]"])]
        return flags

    @property
    def _judge(self) -> GridStep | None:
        """The step of the reward model that weighs votes: the run's own, or else the first of the table."""
        judges = {wanted: made for wanted, made in self._steps.items() if made.stage == REWARD.stage}
        return judges.get(self._known(MAIN["reward"])) or next(iter(judges.values()), None)

    def _ref(self, wanted: Wanted) -> str:
        if wanted.stage == STUDENT.stage:
            return self._given(wanted)
        (ref,) = self._steps[wanted].refs.values()
        return ref

    def _expected(self, stage: str) -> float:
        return self.settings.expected.get(stage, OF_ANOTHER_STAGE)

    def _inputs(self, stage: str) -> str:
        """What a step reads besides its command: the configuration, and settings by which times compare."""
        digest = hashlib.sha256(Path(self.settings.config).read_bytes())
        digest.update("".join(self.settings.stages.get(stage, ())).encode())
        return digest.hexdigest()


def _teacher_of(wanted: Wanted) -> tuple[str, ...]:
    """What says who labelled, where it was not the run's teacher: every card tells."""
    for _, parent in wanted.parents:
        if found := parent.flags if parent.stage == LABELS.stage else _teacher_of(parent):
            return found
    return ()


def kinds_of(stage: str) -> tuple[Kind, ...]:
    """What a stage makes."""
    return (LABELS,) if stage == RELABEL else tuple(kind for kind in KINDS.values() if kind.stage == stage)
