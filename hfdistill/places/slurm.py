"""A run on a Slurm cluster: a script for each job, yours to edit, and their order."""

import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from ..config import Config
from ..errors import HFDistillError
from ..kinds import LABELS, RESULTS, STAGES
from ..runs.memory import Spread, read_spread
from ..runs.stages import ON_CPU, recipe_step
from ..servers.recorded import read_json, write_json
from ..teacher.served import endpoints_folder


SHARDS = "shards"  # the job, an array, in which labelling is shared
TEMPLATES = Path(__file__).parent / "templates"
SECONDS_BETWEEN_LOOKS = 20  # of a teacher that looks whether anybody still asks it


@dataclass(frozen=True)
class Cluster:
    """How a run is to be spread over a cluster.

    Args:
        shards (`int`, *optional*, defaults to 1): jobs that share the labelling.
        teachers (`int`, *optional*, defaults to 0): jobs that serve the teacher on a GPU each; 0 where the
            configuration names endpoints.
        accelerate_config (`str`, *optional*): launch configuration of training and evaluation, for as many machines
            and processes as it says; one process on one GPU without it.
        cpu (`bool`, *optional*, defaults to `False`): train on the CPU, in one process.
        options (`Sequence[str]`, *optional*): of `sbatch`, for all jobs, without dashes: `partition=gpu`.
    """

    shards: int = 1
    teachers: int = 0
    accelerate_config: str | None = None
    cpu: bool = False
    options: Sequence[str] = ()

    @property
    def spread(self) -> Spread:
        """Machines and processes of training and evaluation."""
        return read_spread(self.accelerate_config) if self.accelerate_config else Spread()


@dataclass(frozen=True)
class SlurmJob:
    """A job of a run.

    Attributes:
        name (`str`): its script is `{name}.sbatch`, and it is called `{run}-{name}` in the queue.
        script (`str`): what it executes.
        after (`tuple[str, ...]`): jobs that must have ended well.
        while_runs (`str`, *optional*): the job that must have begun.
    """

    name: str
    script: str
    after: tuple[str, ...] = ()
    while_runs: str | None = None


def plan_jobs(
    configs: Mapping[str, Config],
    path: str,
    names: Sequence[str],
    flags: Mapping[str, Sequence[str]],
    cluster: Cluster,
) -> list[SlurmJob]:
    """The jobs of some stages, in an order in which each comes after those that it waits for.

    Args:
        configs (`Mapping[str, Config]`): the configuration, as each stage sees it.
        path (`str`): YAML file of the run.
        names (`Sequence[str]`): the stages, in order.
        flags (`Mapping[str, Sequence[str]]`): further arguments of each.
        cluster ([`Cluster`]): how they are spread.

    Raises:
        [`~hfdistill.errors.HFDistillError`]: if the teacher is to be served, though the configuration names endpoints.
    """
    config = configs[names[0]]
    if cluster.teachers and config.teacher is None:
        raise HFDistillError(f"--teachers {cluster.teachers} serves the teacher, and {path} has no section teacher")
    if cluster.teachers and config.teacher.endpoints:
        raise HFDistillError(
            f"--teachers {cluster.teachers} serves the teacher, and {path} names teacher.endpoints: give one of them"
        )
    scripts = Scripts(config, path, flags, cluster)
    asking = {LABELS.stage: (SHARDS, LABELS.stage) if cluster.shards > 1 else (LABELS.stage,)}
    if configs[RESULTS.stage].stage.teacher:
        asking[RESULTS.stage] = (RESULTS.stage,)
    jobs: list[SlurmJob] = []
    for stage in names:
        before = tuple(job.name for job in jobs[-1:])
        teacher = None
        if cluster.teachers and stage in asking:
            teacher = f"teacher-{stage}"
            jobs.append(SlurmJob(teacher, scripts.teacher(teacher, asking[stage]), before))
        if stage == LABELS.stage and cluster.shards > 1:
            jobs.append(SlurmJob(SHARDS, scripts.stage(stage, teacher is not None, cluster.shards), before, teacher))
            before, teacher = (SHARDS,), None
        jobs.append(SlurmJob(stage, scripts.stage(stage, teacher is not None), before, teacher))
    return jobs


@dataclass
class Scripts:
    """Fills in the templates."""

    config: Config
    path: str
    flags: Mapping[str, Sequence[str]]
    cluster: Cluster
    environment: Environment = field(
        default_factory=lambda: Environment(
            loader=FileSystemLoader(TEMPLATES), undefined=StrictUndefined, trim_blocks=True, keep_trailing_newline=True
        )
    )

    def stage(self, stage: str, asks: bool, array: int = 0) -> str:
        """The script of a stage, or of its shards."""
        launcher, spread = self._launcher(stage)
        arguments = ["--config", self.path, *self.flags[stage]]
        if array:
            arguments += ["--shard", '"$SLURM_ARRAY_TASK_ID/$SLURM_ARRAY_TASK_COUNT"']
        gpus = 0 if self.cluster.cpu or stage == LABELS.stage else spread.processes // spread.machines
        return self._render(
            "stage.sbatch",
            name=SHARDS if array else stage,
            does=f"{STAGES[stage].recipe}{' shared by jobs' if array else ''}",
            command=_words(recipe_step(stage, arguments, launcher).command),
            nodes=spread.machines,
            gpus=gpus,
            array=array,
            asks=asks,
        )

    def teacher(self, name: str, asking: Sequence[str]) -> str:
        """The script of the jobs that serve the teacher while these jobs ask."""
        model = self.config.teacher.model
        command = [sys.executable, "-m", "hfdistill", "serve", model, "--host", "0.0.0.0", "--port", '"$PORT"']
        return self._render(
            "teacher.sbatch",
            name=name,
            model=model,
            command=_words(command),
            gpus=0 if self.cluster.cpu else 1,
            array=self.cluster.teachers,
            asking=[f"{self.config.run.name}-{each}" for each in asking],
            pause=SECONDS_BETWEEN_LOOKS,
        )

    def _launcher(self, stage: str) -> tuple[list[str], Spread]:
        """Options of `accelerate launch`, and over what it spreads the stage."""
        if stage == LABELS.stage or self.cluster.cpu:
            return [*ON_CPU], Spread()
        spread = self.cluster.spread
        options = ["--config_file", self.cluster.accelerate_config] if self.cluster.accelerate_config else []
        if spread.machines > 1:
            options += ["--machine_rank", '"$SLURM_NODEID"', "--main_process_ip", '"$MAIN_ADDRESS"']
        if spread.processes > 1:
            options += ["--main_process_port", '"$MAIN_PORT"']
        return options, spread

    def _render(self, template: str, name: str, **values: Any) -> str:
        run, folder = self.config.run, Path(self.config.run.output_dir).absolute()
        return self.environment.get_template(template).render(
            run=run.name,
            name=f"{run.name}-{name}",
            logs=slurm_folder(self.config) / "logs",
            directory=shlex.quote(str(Path.cwd())),
            endpoints=shlex.quote(str(folder / endpoints_folder(run).name)),
            options=self.cluster.options,
            **values,
        )


def slurm_folder(config: Config) -> Path:
    """Where a run's scripts, their logs and `jobs.json` are."""
    return Path(config.run.output_dir).absolute() / "slurm"


def _words(command: Sequence[str]) -> str:
    """A command, an option a line; what is in double quotes is left to the shell."""
    quoted = (word if word.startswith('"$') else shlex.quote(word) for word in command)
    return "".join(f" \\\n        {word}" if word.startswith("--") else f" {word}" for word in quoted).strip()


def write_scripts(config: Config, jobs: Sequence[SlurmJob]) -> list[str]:
    """Write the jobs' scripts, but none that somebody edited.

    Returns:
        `list[str]`: names of those that were edited, and stay as they are.
    """
    folder = slurm_folder(config)
    (folder / "logs").mkdir(parents=True, exist_ok=True)
    written, edited = read_json(folder / "written.json"), []
    for job in jobs:
        path = folder / f"{job.name}.sbatch"
        if path.is_file() and _digest(path.read_text(encoding="utf-8")) != written.get(job.name):
            edited.append(path.name)
            continue
        path.write_text(job.script, encoding="utf-8")
        written[job.name] = _digest(job.script)
    write_json(folder / "written.json", written)
    return edited


def _digest(text: str) -> str:
    return sha256(text.encode()).hexdigest()[:16]


def submit(config: Config, jobs: Sequence[SlurmJob]) -> Iterator[tuple[SlurmJob, str]]:
    """Put the jobs into the queue; yields each with its number.

    Raises:
        [`~hfdistill.errors.HFDistillError`]: if jobs of the run are in the queue already, or Slurm refuses one: those
            before it are taken back.
    """
    folder = slurm_folder(config)
    known = read_json(folder / "jobs.json")
    queued = set(_slurm("squeue", "--me", "--noheader", "--format=%F").split())
    if there := {name: number for name, number in known.items() if number in queued}:
        listed = ", ".join(f"{number} ({name})" for name, number in there.items())
        raise HFDistillError(
            f"the run is in the queue already, as {listed}: wait for it, or take it back by "
            f"`scancel {' '.join(there.values())}`"
        )
    numbers: dict[str, str] = {}
    try:
        for job in jobs:
            after = [f"afterok:{numbers[name]}" for name in job.after]
            after += [f"after:{numbers[job.while_runs]}"] if job.while_runs else []
            depends = [f"--dependency={','.join(after)}", "--kill-on-invalid-dep=yes"] if after else []
            answer = _slurm("sbatch", "--parsable", *depends, str(folder / f"{job.name}.sbatch"))
            numbers[job.name] = answer.strip().partition(";")[0]
            write_json(folder / "jobs.json", numbers)
            yield job, numbers[job.name]
    except HFDistillError:
        if numbers:
            _slurm("scancel", *numbers.values())
        raise


def _slurm(command: str, *arguments: str) -> str:
    if shutil.which(command) is None:
        raise HFDistillError(f"there is no {command} here: call this where Slurm's commands are")
    done = subprocess.run([command, *arguments], capture_output=True, text=True)
    if done.returncode != 0:
        said = " ".join(done.stderr.split()) or f"status {done.returncode}"
        raise HFDistillError(f"{command} {' '.join(arguments)} says: {said}")
    return done.stdout
