"""What an artifact inherits from those that it was made from: facts for its card that its own settings do not hold."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..kinds import LABELS, WARMUP
from .metadata import teacher_revision
from .references import Artifact, is_commit, parse_ref


# What imitation learned from before: `warmup.data`, or nothing where a training starts from the base student.
NO_IMITATION = "none"


def inherited(parents: Mapping[str, Artifact], student: str | None) -> dict[str, Any]:
    """Facts along the lineage, for the manifest of what is made from these.

    Args:
        parents (`Mapping[str, Artifact]`): what it is made from, by role.
        student (`str`, *optional*): repository or folder of the base student.

    Returns:
        `dict[str, Any]`: as far as they are known, and where all parents agree: `teacher_revision` and
        `student_revision`, commits of the models; `imitation`, which answers of the teacher the warm-up learned from,
        `"labelled"`, `"all"` or `"none"`; and `relabelled`, how labels were derived from others.
    """
    told: dict[str, list[Any]] = {}
    for role, parent in parents.items():
        facts = _facts(role, parent, student)
        if role not in (WARMUP.name, "labels", "triples"):
            facts.pop("imitation", None)
        for name, fact in facts.items():
            if fact not in told.setdefault(name, []):
                told[name].append(fact)
    return {name: facts[0] for name, facts in sorted(told.items()) if len(facts) == 1}


def _facts(role: str, parent: Artifact, student: str | None) -> dict[str, Any]:
    made = parent.manifest
    facts = dict(made.get("inherited", {}))
    is_student = student is not None and (parent.repo_id == student or Path(parent.repo_id) == Path(student))
    if is_student or role == "student":
        facts = {"student_revision": parent.revision} if is_commit(parent.revision) else {}
        return facts | ({"imitation": NO_IMITATION} if role == WARMUP.name else {})
    if made.get("kind") == WARMUP.name:
        revision = parse_ref(made["parents"].get("student", ""))[2]
        facts |= {"student_revision": revision} if is_commit(revision) else {}
        facts["imitation"] = made["config"].get("stage", {}).get("data", "labelled")
    elif made.get("kind") == LABELS.name:
        if revision := teacher_revision(made):
            facts["teacher_revision"] = revision
        facts |= {"relabelled": made["metrics"]["relabelled"]} if "relabelled" in made["metrics"] else {}
    return facts
