"""A run: the stages in order, each a recipe started by `accelerate launch`, joined only by their artifacts."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from ..errors import HFDistillError, unknown
from ..kinds import CHAIN, LABELS, STAGES
from .steps import Step


# Everything that `accelerate launch` would otherwise guess, with a warning.
ON_CPU = (
    "--cpu",
    *("--num_processes", "1", "--num_machines", "1"),
    *("--mixed_precision", "no", "--dynamo_backend", "no"),
)


def recipes_folder() -> Path:
    """Where the recipes are: beside the package in a checkout, under the environment's `share` when from a wheel.

    Raises:
        [`~hfdistill.errors.HFDistillError`]: if they are in neither place.
    """
    places = [Path(__file__).parents[2] / "recipes", Path(sys.prefix) / "share" / "hfdistill" / "recipes"]
    for folder in places:
        if (folder / STAGES[LABELS.stage].recipe).is_file():
            return folder
    raise HFDistillError(f"the recipes are neither in {places[0]} nor in {places[1]}: reinstall hfdistill")


def recipe_step(
    stage: str,
    arguments: Sequence[str],
    accelerate: Sequence[str] = (),
    name: str | None = None,
    after: tuple[str, ...] = (),
    expected: float = 60.0,
    inputs: str = "",
) -> Step:
    """A stage's recipe as a step.

    Args:
        stage (`str`): whose recipe.
        arguments (`Sequence[str]`): `--config FILE` and flags.
        accelerate (`Sequence[str]`, *optional*): options of `accelerate launch`, for example `["--config_file", F]`.
        name (`str`, *optional*): the step's name, the stage's by default.
        after (`tuple[str, ...]`, *optional*), expected (`float`, *optional*), inputs (`str`, *optional*): see
            [`~hfdistill.runs.steps.Step`].
    """
    script = str(recipes_folder() / STAGES[stage].recipe)
    command = [sys.executable, "-m", "accelerate.commands.launch", *accelerate, script, *arguments]
    return Step(name or stage, command, after, expected, inputs, launched=True)


def between(first: str, last: str) -> list[str]:
    """The stages from one to another, both included.

    Raises:
        [`~hfdistill.errors.HFDistillError`]: if there is no such stage, or the first comes after the last.
    """
    names = list(CHAIN)
    for stage in (first, last):
        if stage not in names:
            raise unknown("stage", stage, names)
    wanted = names[names.index(first) : names.index(last) + 1]
    if not wanted:
        raise HFDistillError(f"--from {first} comes after --to {last}: the order is {', '.join(names)}")
    return wanted


def stages(
    config: str, names: Sequence[str], flags: Mapping[str, Sequence[str]], accelerate: Sequence[str] = ()
) -> list[Step]:
    """Stages of a configuration, each after the one before it.

    Args:
        config (`str`): path of the YAML file.
        names (`Sequence[str]`): which, in order; see [`between`].
        flags (`Mapping[str, Sequence[str]]`): further arguments of each.
        accelerate (`Sequence[str]`, *optional*): options of `accelerate launch` for the training stages. Labelling
            needs no accelerator and runs as one process.
    """
    steps: list[Step] = []
    for stage in names:
        single = ON_CPU if stage == LABELS.stage else accelerate
        arguments = ["--config", config, *flags[stage]]
        steps.append(recipe_step(stage, arguments, single, after=tuple(step.name for step in steps[-1:])))
    return steps
