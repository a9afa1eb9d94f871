"""Whether a run's stages fit on a device, and what to do where they do not."""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..artifacts.references import open_artifact
from ..config import Config
from ..errors import HFDistillError
from ..kinds import STAGES
from ..tasks import load_task
from .hardware import Machines
from .hours import Asked, stage_hours
from .memory import COUNTED, CountedModel, Lengths, Need, Settings, Spread, read_spread, stage_need
from .validation import stage_config


GIGABYTE = 1e9
CHARACTERS_PER_TOKEN = 4.0
PROCESSES = (1, 2, 4, 8, 16, 32)  # tried, where one process is too few


@dataclass(frozen=True)
class Device:
    """What a process may take: bytes of memory and of the disk, and whose memory it is."""

    name: str
    memory: float
    disk: float


@dataclass(frozen=True)
class Fit:
    """A stage's need beside what there is; `way_out` says what to do where its memory does not fit, and `hours` how
    long it takes on hardware that is planned for.
    """

    need: Need
    fits: bool
    disk_fits: bool
    way_out: str
    hours: float | None = None


def find_device(folder: str, processes: int, memory: float | None = None) -> Device:
    """The device that a process would train on here, and the disk that `folder` is on.

    Args:
        folder (`str`): where checkpoints go; need not exist yet.
        processes (`int`): how many share the memory of a machine without a GPU.
        memory (`float`, *optional*): gigabytes of another device, for which is planned.
    """
    import psutil
    import torch

    there = next(path for path in (Path(folder).absolute(), *Path(folder).absolute().parents) if path.is_dir())
    disk = shutil.disk_usage(there).free
    if memory is not None:
        return Device("the device that is planned for", memory * GIGABYTE, disk)
    if torch.cuda.is_available():
        return Device(torch.cuda.get_device_name(), torch.cuda.mem_get_info()[0], disk)
    share = "" if processes == 1 else f", shared by {processes} processes"
    return Device(f"this machine{share}", psutil.virtual_memory().available / processes, disk)


@dataclass(frozen=True)
class Fitting:
    """What a run's stages take, each beside the same device, and how they are launched."""

    device: Device
    spread: Spread
    fits: list[Fit]


def fit_run(
    path: str, set_values: Sequence[str], accelerate_config: str | None = None, memory: float | None = None
) -> Fitting:
    """What each stage that computes with the student takes, beside what there is.

    Args:
        path (`str`): YAML file of the run.
        set_values (`Sequence[str]`): settings on top of it, `section.key=value`.
        accelerate_config (`str`, *optional*): launch configuration; one process without it.
        memory (`float`, *optional*): gigabytes of the device that is planned for; this machine's without it.

    Raises:
        [`~hfdistill.errors.HFDistillError`]: if the configuration, the launch configuration or the student's config
            cannot be read.
    """
    spread = read_spread(accelerate_config) if accelerate_config else Spread()
    configs = _configs(path, set_values)
    first = next(iter(configs.values()))
    device = find_device(first.run.output_dir, spread.processes, memory)
    student, lengths = count_student(first), prompt_lengths(first)
    return Fitting(device, spread, _fits(configs, student, lengths, spread, device, memory is not None))


def plan_launch(path: str, set_values: Sequence[str], hardware: Machines, asked: Asked) -> Fitting:
    """How a run is best launched on hardware elsewhere: data parallel where each GPU holds what every stage takes,
    else with the weights split.

    Args:
        path (`str`), set_values (`Sequence[str]`): the run, as for [`fit_run`].
        hardware ([`~hfdistill.runs.hardware.Machines`]): what there is.
        asked ([`~hfdistill.runs.hours.Asked`]): what the stages work on.
    """
    configs = _configs(path, set_values)
    first = next(iter(configs.values()))
    student, lengths = count_student(first), prompt_lengths(first)
    device = replace(find_device(first.run.output_dir, 1, hardware.memory), name=f"one {hardware.gpu}")
    for spread in hardware.spreads(configs):
        fits = _fits(configs, student, lengths, spread, device, True, hardware.all_gpus)
        if all(fit.fits for fit in fits):
            break
    timed = [
        replace(fit, hours=stage_hours(stage, student, settings_of(config, True), asked, spread, hardware))
        for fit, (stage, config) in zip(fits, configs.items(), strict=True)
    ]
    return Fitting(device, spread, timed)


def _configs(path: str, set_values: Sequence[str]) -> dict[str, Config]:
    return {stage: stage_config(stage, path, set_values) for stage in STAGES if stage in COUNTED}


def _fits(
    configs: Mapping[str, Config],
    student: CountedModel,
    lengths: Lengths,
    spread: Spread,
    device: Device,
    elsewhere: bool,
    most: int = PROCESSES[-1],
) -> list[Fit]:
    fits = []
    for stage, config in configs.items():
        settings = settings_of(config, elsewhere)
        need = stage_need(stage, student, settings, lengths, spread)
        there = need.memory <= device.memory
        way_out = "" if there else find_way_out(stage, student, settings, lengths, spread, device.memory, most)
        fits.append(Fit(need, there, need.disk <= device.disk, way_out))
    return fits


def count_student(config: Config) -> CountedModel:
    """The student, by its config alone, with the run's adapters."""
    from transformers import AutoConfig

    folder = open_artifact(config.student.ref, "model", ["config.json", "adapter_config.json"]).path
    try:
        return CountedModel(AutoConfig.from_pretrained(folder), config.peft)
    except (OSError, ValueError) as error:
        raise HFDistillError(
            f"student.model is {config.student.ref!r}, whose config tells no causal language model: "
            f"{' '.join(str(error).split())}"
        ) from error


def prompt_lengths(config: Config) -> Lengths:
    """Tokens of the longest prompts of the run's task, at four characters a token, and of its longest response."""
    task = load_task(config.task)
    questions = task.questions()
    if not questions:
        raise HFDistillError(f"task {task.name!r} has no questions of its own, so that nobody knows how long they are")
    bare, few_shot = (max(len(task.prompt(question, shots)) for question in questions) for shots in (0, None))
    return Lengths(round(bare / CHARACTERS_PER_TOKEN), round(few_shot / CHARACTERS_PER_TOKEN), task.max_new_tokens)


def settings_of(config: Config, elsewhere: bool) -> Settings:
    """A stage's settings; for a device elsewhere, bf16 is taken to be on unless it is off by name."""
    settings = dict(vars(config.stage))
    if "bf16" in settings and elsewhere:
        settings["bf16"] = config.asked["bf16"] is not False
    if "per_device_train_batch_size" in settings:
        # Before a global batch was divided among the processes of this machine.
        settings["per_device_train_batch_size"] = config.asked["per_device_train_batch_size"]
    return settings


def find_way_out(
    stage: str,
    student: CountedModel,
    settings: Settings,
    lengths: Lengths,
    spread: Spread,
    memory: float,
    most: int = PROCESSES[-1],
) -> str:
    """With which settings, or on how many processes, at `most`, a stage fits into so many bytes, in words."""
    tried = [spread]
    if stage != "evaluate":
        tried += [Spread("fsdp", processes) for processes in PROCESSES if spread.processes < processes <= most]
        if spread.kind in ("none", "ddp") and spread.processes > 1:
            tried.insert(1, Spread("fsdp", spread.processes))
    for other in tried:
        changes = _smaller(stage, student, settings, lengths, other, memory)
        if changes is None:
            continue
        if "per_device_train_batch_size" in changes and settings.get("global_batch_size", 0) is None:
            # The update stays what it was.
            changes["global_batch_size"] = settings["per_device_train_batch_size"] * spread.processes
        words = [f"{stage}.{name}={str(value).lower()}" for name, value in changes.items()]
        launched = [] if other is spread else [f"{other.processes} processes by recipes/accelerate/fsdp.yaml"]
        return f"it fits with {' and '.join(words + launched)}"
    return "nothing here makes it fit: take a smaller student, or a larger device"


def _smaller(
    stage: str, student: CountedModel, settings: Settings, lengths: Lengths, spread: Spread, memory: float
) -> dict[str, Any] | None:
    """Changes of settings under which the stage fits: fewer rows at once, then activations computed anew, then PPO's
    reference in the machine's memory.
    """
    changes: dict[str, Any] = {}
    while True:
        now = {**settings, **changes}
        need = stage_need(stage, student, now, lengths, spread)
        if need.memory <= memory:
            return changes
        if need.setting is None:
            return None
        rows = now[need.setting]
        if rows > 1:
            changes[need.setting] = rows // 2
        elif need.setting == "per_device_train_batch_size" and not now["activation_checkpointing"]:
            changes["activation_checkpointing"] = True
        elif "reference" in need.parts:
            changes["offload_ref_model"] = True
        else:
            return None
