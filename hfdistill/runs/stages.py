"""A run: the five stages in order, each a recipe started by `accelerate launch`, joined only by their artifacts."""

import sys
from collections.abc import Sequence
from pathlib import Path

from ..errors import HFDistillError
from ..kinds import STAGES
from .steps import Step


def recipes_folder() -> Path:
    """Where the recipes are: beside the package in a checkout, under the environment's `share` when from a wheel.

    Raises:
        [`~hfdistill.errors.HFDistillError`]: if they are in neither place.
    """
    places = [Path(__file__).parents[2] / "recipes", Path(sys.prefix) / "share" / "hfdistill" / "recipes"]
    for folder in places:
        if (folder / STAGES["label"].recipe).is_file():
            return folder
    raise HFDistillError(f"the recipes are neither in {places[0]} nor in {places[1]}: reinstall hfdistill")


def launch(recipe: str, arguments: Sequence[str], accelerate: Sequence[str] = ()) -> list[str]:
    """The command that starts a recipe.

    Args:
        recipe (`str`): its stage.
        arguments (`Sequence[str]`): `--config FILE` and flags.
        accelerate (`Sequence[str]`, *optional*): options of `accelerate launch`, for example `["--config_file", F]`.
    """
    script = str(recipes_folder() / STAGES[recipe].recipe)
    return [sys.executable, "-m", "accelerate.commands.launch", *accelerate, script, *arguments]


def stages(config: str, arguments: Sequence[str] = (), accelerate: Sequence[str] = ()) -> list[Step]:
    """The five stages of a configuration, each after the one before it.

    Args:
        config (`str`): path of the YAML file.
        arguments (`Sequence[str]`, *optional*): dotted flags for every stage, for example `["--run.seed", "1"]`.
        accelerate (`Sequence[str]`, *optional*): options of `accelerate launch` for the training stages. Labelling
            needs no accelerator and runs as one process.
    """
    steps: list[Step] = []
    for stage in STAGES:
        single = ["--cpu", "--num_processes", "1"] if stage == "label" else accelerate
        command = launch(stage, ["--config", config, *arguments], single)
        steps.append(Step(stage, command, tuple(step.name for step in steps[-1:])))
    return steps
