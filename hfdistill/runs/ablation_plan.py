"""What a table will take before anything is spent: steps, seconds, teacher requests, and what cannot work."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import mean
from typing import TYPE_CHECKING, Any

from ..artifacts.references import Artifact
from ..errors import HFDistillError
from ..kinds import LABELS, STAGES
from ..progress import clock
from ..servers.recorded import read_json
from ..tasks import load_task
from .ablation_grid import RELABEL, AblationGrid, GridStep
from .ablation_problems import lacks_endpoint, lacks_golds, lacks_vocabulary
from .estimate import Demand, estimate, guess
from .schedule import together
from .steps import Step, ended_well


if TYPE_CHECKING:
    from rich.table import Table

# The states of a step: ended well in this folder, made elsewhere with the same settings, or not yet.
DONE, FOUND, TO_DO = "done", "found", "to do"
SECONDS_TO_FIND = 8.0  # that a stage takes to say that its artifact is complete
START_SECONDS = 8.0  # of a process, before its stage begins to count


@dataclass
class SeedPlan:
    """What one seed takes.

    Attributes:
        grid ([`AblationGrid`]): its steps.
        before (`list[Step]`): steps that are run before the grid's, for models that it starts from.
        states (`dict[str, str]`): of every step, by its name.
        seconds (`dict[str, float]`): what each step that is not done is expected to take.
        problems (`list[str]`): what cannot work, a sentence each.
        lost (`list[str]`): steps that ended well, and whose artifact is gone.
        stale (`list[str]`): steps that ended well, and read what is to be made anew.
    """

    grid: AblationGrid
    before: list[Step] = field(default_factory=list)
    states: dict[str, str] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    stale: list[str] = field(default_factory=list)

    @property
    def seed(self) -> int:
        """The seed."""
        return self.grid.settings.run.seed

    @property
    def steps(self) -> list[Step]:
        """The grid's steps, with what each is expected to take."""
        return [self._timed(made.step) for made in self.grid.steps]

    @property
    def models(self) -> list[Step]:
        """The steps before those."""
        return [self._timed(step) for step in self.before]

    def to_do(self, stage: str) -> list[GridStep]:
        """Steps of a stage that are neither done nor found."""
        return [made for made in self.grid.steps if made.stage == stage and self.states[made.step.name] == TO_DO]

    def total(self, jobs: int) -> float:
        """Seconds of the seed, with so many steps at once."""
        return sum(together(steps, self.seconds, jobs) for steps in (self.models, self.steps))

    def _timed(self, step: Step) -> Step:
        return replace(step, expected=self.seconds.get(step.name, step.expected))


@dataclass
class StudyPlan:
    """What a table takes.

    Attributes:
        run (`str`): name of the run.
        seeds (`list[SeedPlan]`): each seed.
        jobs (`int`): steps at once.
        requests (`list[Demand]`): what the teacher is asked for, for labels and for its row of the results.
        measured (`set[str]`): stages whose seconds were measured, in this folder or by an artifact that was found.
        problems (`list[str]`): what cannot work.
    """

    run: str
    seeds: list[SeedPlan]
    jobs: int
    requests: list[Demand] = field(default_factory=list)
    measured: set[str] = field(default_factory=set)
    problems: list[str] = field(default_factory=list)

    @property
    def seconds(self) -> float:
        """Seconds of all seeds, one after another."""
        return sum(seed.total(self.jobs) for seed in self.seeds)


def plan_study(run: str, grids: Sequence[AblationGrid], jobs: int, before: Sequence[Sequence[Step]] = ()) -> StudyPlan:
    """Look at every seed: what is done, what is missing, how long the rest takes.

    Args:
        run (`str`): name of the run, without a seed.
        grids (`Sequence[AblationGrid]`): one a seed.
        jobs (`int`): steps at once.
        before (`Sequence[Sequence[Step]]`, *optional*): for each seed, steps that come before its grid's.
    """
    seeds = [SeedPlan(grid, list(steps)) for grid, steps in zip(grids, before or [()] * len(grids), strict=True)]
    times = _Times()
    for seed in seeds:
        times.read(seed)
    for seed in seeds:
        finished = read_json(seed.grid.settings.folder / "steps.json")
        for step in seed.before:
            seed.states[step.name] = DONE if ended_well(step, finished) else TO_DO
        for made in seed.grid.steps:
            _look(made, seed, finished, times)
        seed.problems += seed.grid.problems
    for seed in seeds:
        everything = [(step, step.name.partition(" ")[0]) for step in seed.before]
        everything += [(made.step, made.stage) for made in seed.grid.steps]
        for step, stage in everything:
            if seed.states[step.name] == FOUND:
                seed.seconds[step.name] = SECONDS_TO_FIND
            elif seed.states[step.name] == TO_DO:
                seed.seconds[step.name] = times.expected(step, stage)
    stages = {made.stage for seed in seeds for made in seed.grid.steps}
    study = StudyPlan(run, seeds, jobs, measured=set(filter(times.knows, stages)))
    study.problems = _problems(study)
    if not study.problems:
        study.requests = _requests(study)
    return study


class _Seconds:
    """What steps took, by name and inputs, and by stage and inputs."""

    def __init__(self) -> None:
        self.names: dict[tuple[str, str], list[float]] = defaultdict(list)
        self.stages: dict[tuple[str, str], list[float]] = defaultdict(list)

    def add(self, step: Step, stage: str, seconds: float) -> None:
        self.names[step.name, step.inputs].append(seconds)
        self.stages[stage, step.inputs].append(seconds)


class _Times:
    """What steps took: measured, as artifacts tell, and noted, as runners do, who also note a step that found its
    artifact complete.
    """

    def __init__(self) -> None:
        self.measured, self.noted = _Seconds(), _Seconds()

    def read(self, seed: SeedPlan) -> None:
        """Take what the runner of a seed, and of those beside it, noted."""
        folder = seed.grid.settings.folder
        stages = {made.step.name: made.stage for made in seed.grid.steps}
        beside = {*folder.parent.glob("*/steps.json"), *folder.glob("*/steps.json")}
        for path in sorted({folder / "steps.json", folder.parent / "steps.json", *beside}):
            for name, entry in read_json(path).items():
                stage = stages.get(name) or _stage_of(entry["command"]) or name.partition(" ")[0]
                self.noted.add(Step(name, entry["command"], inputs=entry["inputs"]), stage, entry["seconds"])

    def expected(self, step: Step, stage: str) -> float:
        """The mean of the same step elsewhere, else of its stage, else what the step says itself."""
        known = (
            self.measured.names.get((step.name, step.inputs))
            or self.noted.names.get((step.name, step.inputs))
            or self.measured.stages.get((stage, step.inputs))
            or self.noted.stages.get((stage, step.inputs))
        )
        return mean(known) if known else step.expected

    def knows(self, stage: str) -> bool:
        """Whether a stage was ever timed."""
        return any(stage == known for seconds in (self.measured, self.noted) for known, _ in seconds.stages)


def _stage_of(command: Sequence[str]) -> str | None:
    recipes = {stage.recipe: name for name, stage in STAGES.items()}
    found = (recipes.get(word.rpartition("/")[2]) for word in command)
    return next((stage for stage in found if stage), None)


def _look(made: GridStep, seed: SeedPlan, earlier: Mapping[str, Any], times: _Times) -> None:
    """Settle the state of a step."""
    name = made.step.name
    finished = ended_well(made.step, earlier)
    try:
        artifacts = [made.store.newest(kind) for kind in made.kinds]
    except HFDistillError as error:
        seed.problems.append(f"step {name!r} of seed {seed.seed}: {error}")
        artifacts = []
    there = bool(artifacts) and all(artifact and artifact.manifest for artifact in artifacts)
    for artifact in artifacts:
        if artifact and (missing := _missing(artifact)):
            seed.problems.append(
                f"step {name!r} of seed {seed.seed}: {artifact.repo_id} is broken, {missing[0]} is not there: delete "
                "it, and it is made anew"
            )
    waits = any(seed.states.get(other) == TO_DO for other in made.reads)
    seed.states[name] = TO_DO
    if finished and not there:
        seed.lost.append(name)
    elif finished and waits:
        seed.stale.append(name)
    elif finished or (there and not waits and _as_configured(artifacts, made)):
        seed.states[name] = DONE if finished else FOUND
        costs = [artifact.manifest["cost"] for artifact in artifacts]
        if all("seconds" in cost for cost in costs):
            times.measured.add(made.step, made.stage, sum(cost["seconds"] for cost in costs) + START_SECONDS)


def _missing(artifact: Artifact) -> list[str]:
    """Files of a folder that its manifest names and that are not there."""
    if artifact.in_part:
        return []
    folder = artifact.source or artifact.path
    return [name for name in artifact.manifest.get("files", {}) if not (folder / name).is_file()]


def _as_configured(artifacts: Sequence[Artifact], made: GridStep) -> bool:
    return made.config is not None and all(
        artifact.manifest["config"] == made.config.identity(kind)
        for artifact, kind in zip(artifacts, made.kinds, strict=True)
    )


def _problems(study: StudyPlan) -> list[str]:
    """What cannot work, each once."""
    found: list[str] = []
    for seed in study.seeds:
        found += [problem for problem in seed.problems if problem not in found]
        found += [problem for made in seed.to_do(LABELS.stage) for problem in lacks_endpoint(made)]
    first = study.seeds[0]
    found += lacks_golds(first.grid)
    if not any(first.states[step.name] == TO_DO for step in first.before):
        found += lacks_vocabulary(first.grid)
    return found


def _requests(study: StudyPlan) -> list[Demand]:
    """What the teacher will be asked for, of all seeds together; nothing is asked for that."""
    demands = []
    for seed in study.seeds:
        for made in seed.to_do(LABELS.stage):
            config = made.config
            task = load_task(config.task)
            demands.append(estimate(config, task, guess(task, config.stage, len(config.teacher.endpoints)))[0])
    if not demands:
        return []
    total: Any = Counter()
    for demand in demands:
        total.update(requests=demand.requests, prompt=demand.prompt_tokens, completion=demand.completion_tokens)
    costs = [demand.cost for demand in demands if demand.cost is not None]
    tokens = total["prompt"], total["completion"]
    return [Demand(LABELS.name, total["requests"], *tokens, cost=sum(costs) if costs else None)]


def steps_table(study: StudyPlan) -> "Table":
    """Stages with their steps, as a `rich` table."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    table.add_column("", no_wrap=True)
    for name in ("steps", "done", "to do", "a step", "in all"):
        table.add_column(name, justify="right", no_wrap=True)
    counted: dict[str, list[tuple[SeedPlan, str]]] = defaultdict(list)
    for seed in study.seeds:
        for step in seed.before:
            counted[step.name].append((seed, step.name))
        for made in seed.grid.steps:
            counted[made.stage].append((seed, made.step.name))
    order = [RELABEL, *STAGES]
    for stage in sorted(counted, key=lambda each: order.index(each) if each in order else -1):
        open_steps = [(seed, name) for seed, name in counted[stage] if seed.states[name] != DONE]
        seconds = [seed.seconds[name] for seed, name in open_steps]
        table.add_row(
            stage,
            str(len(counted[stage])),
            str(len(counted[stage]) - len(open_steps)),
            str(len(open_steps)),
            clock(mean(seconds)) if seconds else "-",
            clock(sum(seconds)) if seconds else "-",
        )
    return table


def plan_lines(study: StudyPlan) -> list[str]:
    """What the plan says beside its table, a line each."""
    states = [state for seed in study.seeds for state in seed.states.values()]
    found = states.count(FOUND)
    lost = [name for seed in study.seeds for name in seed.lost]
    stale = [name for seed in study.seeds for name in seed.stale]
    lines = []
    if found:
        lines.append(f"{found} of them were made before with these settings, and are only looked at.")
    if lost:
        lines.append(f"{len(lost)} ended well before, and what they made is gone: {', '.join(lost[:3])}.")
    if stale:
        lines.append(f"{len(stale)} ended well before, and are looked at again, since what they read is made anew.")
    if len(study.seeds) > 1:
        each = ", ".join(f"{seed.seed}: {clock(seed.total(study.jobs))}" for seed in study.seeds)
        lines.append(f"By seed: {each}.")
    assumed = {
        made.stage
        for seed in study.seeds
        for made in seed.grid.steps
        if seed.states[made.step.name] == TO_DO and made.stage not in study.measured
    }
    if assumed:
        lines.append(f"Seconds of {', '.join(sorted(assumed))} are assumed; they are measured when a first step ends.")
    for demand in study.requests:
        cost = "its cost is not known, since the configuration has no price by the token"
        cost = cost if demand.cost is None else f"about {demand.cost:,.2f} by the prices of the configuration"
        tokens = demand.prompt_tokens + demand.completion_tokens
        lines.append(f"The teacher: {demand.requests:,} requests for labels, about {tokens:,} tokens; {cost}.")
    at_once = f"{study.jobs} steps at once" if study.jobs > 1 else "one step at a time"
    lines.append(f"In all about {clock(study.seconds)}, {at_once}.")
    return lines
