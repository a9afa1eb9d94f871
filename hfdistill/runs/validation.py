"""Check a configuration as far as that goes without a GPU, a token or a request."""

from collections.abc import Sequence

from ..config import Config, load_config
from ..errors import HFDistillError
from ..flags import stage_class, stage_flags
from ..kinds import STAGES
from ..tasks import load_task, task_section


def stage_config(stage: str, path: str, settings: Sequence[str]) -> Config:
    """The configuration as a stage sees it, with `section.key=value` settings on top of the file."""
    return load_config(stage, stage_class(stage), ["--config", path, *stage_flags(settings, stage)])


def validate(path: str, settings: Sequence[str] = ()) -> dict[str, Config]:
    """Build every stage's settings and the task, as the recipes will.

    Args:
        path (`str`): the YAML file.
        settings (`Sequence[str]`, *optional*): `section.key=value` on top of it.

    Returns:
        `dict[str, Config]`: the configuration as each stage sees it, by stage.

    Raises:
        [`~hfdistill.errors.HFDistillError`]: for the first thing that is wrong.
    """
    configs = {stage: stage_config(stage, path, settings) for stage in STAGES}
    label = configs["label"]
    for entry in (label.task, *label.stage.benchmarks, *configs["evaluate"].stage.benchmarks):
        load_task(task_section(entry))
    if not label.teacher.endpoints:
        raise HFDistillError(
            f"{path} names no endpoint of the teacher: add teacher.endpoints, or give "
            "--set teacher.endpoints=http://host:port"
        )
    return configs
