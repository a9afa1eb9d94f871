"""Who labels responses to an open-ended task in the stages after labelling: the labeler of the labels, or another."""

from collections.abc import Mapping
from typing import Any

from ..config import Config
from ..errors import HFDistillError
from ..fields import plain
from ..tasks import Task
from .labeler import Labeler
from .labelers import identity, load_labeler


def judge_identity(section: Mapping[str, Any] | str | None) -> dict[str, Any] | None:
    """What decides of a judge's section, see [`~hfdistill.labels.labelers.identity`]."""
    return identity(read_section(section)) if section else None


def read_section(section: Mapping[str, Any] | str) -> dict[str, Any]:
    """A judge's section, read or still in JSON, with its name."""
    return {"name": "llm_judge", **plain(section)}


def open_judge(stage: str, config: Config, task: Task, labels: Mapping[str, Any] | None) -> Labeler:
    """The judge of a stage's responses, which becomes part of what was asked for: that of the stage's setting `judge`
    (by default the section `label`'s), or else the one that the labels were made by.

    Args:
        stage (`str`): the stage, for messages.
        config ([`~hfdistill.config.Config`]): as the stage sees it.
        task ([`~hfdistill.tasks.Task`]): open-ended.
        labels (`Mapping`, *optional*): manifest of the labels.

    Raises:
        [`~hfdistill.errors.HFDistillError`]: if nobody is known to judge.
    """
    asked = config.asked["judge"] or _labelled_by(labels or {})
    way_out = f"give {stage}.judge, for example {{endpoint: http://host:port, model: NAME}}"
    if asked is None:
        raise HFDistillError(
            f"task {task.name!r} is open-ended, and nobody is named who tells its good responses from bad ones: "
            + way_out
        )
    section = read_section(asked)
    if section.get("endpoint") is True:
        raise HFDistillError(
            f"the labels were judged by {section['model']!r}, whose address is not written in them: {way_out}"
        )
    if section.get("endpoint") is False:
        section["endpoint"] = None
    judge = load_labeler(section)
    judge.check(task)
    config.asked["judge"] = section
    return judge


def _labelled_by(labels: Mapping[str, Any]) -> dict[str, Any] | None:
    """The section of the labeler in a manifest of labels; its `endpoint` may be recorded as whether one was named."""
    stage = labels.get("config", {}).get("stage", {})
    labeler = stage.get("labeler")
    if isinstance(labeler, dict):  # of `hfdistill label`
        return labeler
    return {"name": labeler, **stage["labeler_options"]} if "labeler_options" in stage else None
