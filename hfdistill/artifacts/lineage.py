"""Lineage: from an artifact back to teacher, student and questions, along the parents pinned in the manifests."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ..errors import HFDistillError
from ..fields import plain
from ..tasks import resolved
from .errors import hub_errors
from .metadata import teacher_revision
from .references import REPO_TYPES, Artifact, differing, is_commit, named, open_artifact, parse_ref


# Nodes by reference and digest.
Seen = dict[tuple[str, str | None], "Node"]


@dataclass
class Node:
    """An artifact, or a source that no artifact of hfdistill stands behind.

    Attributes:
        role (`str`): what it was to the artifact made from it, for example `"warmup"`; empty for the root.
        kind (`str`): `"model"`, `"dataset"`, `"space"`, `"teacher"`, `"student"` or `"questions"`.
        name (`str`): repository, folder or name.
        revision (`str`): pinned revision, empty where there is none.
        note (`str`): stage and date, or why nothing more is known.
        parents (`list[Node]`): what it was made from.
        edited (`str`): which of its data files were edited by hand; empty where none was.
    """

    role: str
    kind: str
    name: str
    revision: str = ""
    note: str = ""
    parents: "list[Node]" = field(default_factory=list)
    edited: str = ""

    @property
    def key(self) -> tuple[str, str, str]:
        """What is the same wherever it appears."""
        return self.kind, self.name, self.revision

    @property
    def remark(self) -> str:
        """What is known of it, edits by hand included, in one line."""
        return "; ".join(filter(None, (self.note, self.edited)))

    @property
    def title(self) -> str:
        """Kind, name and short revision in one line."""
        revision = self.revision[:12] if is_commit(self.revision) else self.revision
        return f"{self.kind} {self.name}" + (f"@{revision}" if revision else "")


def lineage(ref: str, repo_type: str | None = None) -> Node:
    """Build the tree of an artifact.

    Args:
        ref (`str`): `namespace/name`, `namespace/name@revision`, `type:namespace/name@revision` or a folder.
        repo_type (`str`, *optional*): `"model"`, `"dataset"` or `"space"`; found out by default.

    Returns:
        [`Node`]: the artifact, with its parents and theirs.

    Raises:
        [`~hfdistill.errors.HFDistillError`]: if it does not exist or was not made by hfdistill. A parent that cannot
            be read ends its branch with a note instead.
    """
    artifact = _open_root(ref, repo_type)
    if not artifact.manifest:
        raise HFDistillError(
            f"{artifact.repo_type} {artifact.repo_id!r} has no hfdistill.json at {artifact.revision}: its lineage is "
            "not known, because hfdistill did not make it"
        )
    return _node("", artifact, {}, None)


def _open_root(ref: str, repo_type: str | None) -> Artifact:
    prefix, _, rest = ref.partition(":")
    if rest and prefix in REPO_TYPES:
        repo_type, ref = prefix, rest
    if repo_type:
        return open_artifact(ref, repo_type, patterns=[])
    if Path(ref).is_dir():
        return open_artifact(ref, "dataset" if any(Path(ref).glob("*/*.parquet")) else "model")
    from huggingface_hub import HfApi

    repo_id = ref.partition("@")[0]
    with hub_errors("repository", ref):
        found = [kind for kind in REPO_TYPES if HfApi().repo_exists(repo_id, repo_type=kind)]
    if len(found) > 1:
        raise HFDistillError(f"{ref!r} is the name of a {' and of a '.join(found)}: say which by --type {found[0]}")
    return open_artifact(ref, found[0] if found else "model", patterns=[])


def _node(role: str, artifact: Artifact, seen: Seen, digest: str | None) -> Node:
    made = artifact.manifest
    node = seen[artifact.ref, digest] = Node(role, artifact.repo_type, artifact.repo_id, artifact.revision)
    if not made:
        node.kind = "student" if artifact.repo_type == "model" else node.kind
        node.note = "not made by hfdistill"
        return node
    node.note = f"stage {made['stage']}, {made['created'][:10]}"
    node.edited = _edits(artifact, digest)
    for parent_role, ref in made["parents"].items():
        node.parents.append(_parent(parent_role, ref, seen, made["digests"][parent_role]))
    node.parents += _sources(node, made)
    return node


def _edits(artifact: Artifact, digest: str | None) -> str:
    """Which data files were edited by hand, before or after something was made from the data with this digest.

    A newer commit that differs in card, licences or pictures alone is no edit, and neither is another version.
    """
    try:
        before = f"edited by hand: {named(artifact.edited)}" if artifact.edited else ""
        if is_commit(artifact.revision):
            newest = open_artifact(artifact.repo_id, artifact.repo_type, patterns=[])
            same = newest.manifest.get("fingerprint") == artifact.manifest["fingerprint"]
            changed = differing(artifact.data, newest.data) if same and newest.revision != artifact.revision else ()
            return "; ".join(filter(None, (before, f"edited since: {named(changed)}" if changed else "")))
        if digest in (None, artifact.digest):
            return before
        return f"edited since: {named(artifact.edited)}" if artifact.edited else "it was edited by hand then"
    except HFDistillError as error:
        return f"whether it was edited by hand is not known: {error}"


def _parent(role: str, ref: str, seen: Seen, digest: str) -> Node:
    repo_type, repo_id, revision = parse_ref(ref)
    if known := seen.get((ref, digest)):
        return replace(known, role=role)
    pinned = is_commit(revision)
    try:
        artifact = open_artifact(f"{repo_id}@{revision}" if pinned else repo_id, repo_type, patterns=[])
    except HFDistillError as error:
        return Node(role, repo_type, repo_id, revision, f"cannot be read: {error}")
    if artifact.revision != revision:
        return Node(role, repo_type, repo_id, revision, f"the folder holds another version now, {artifact.revision}")
    return _node(role, artifact, seen, digest)


def _sources(node: Node, made: dict[str, Any]) -> list[Node]:
    """What no pinned parent stands for: the teacher and the questions of the first dataset, a student by name."""
    sources = []
    teacher, student, task = made.get("teacher"), made.get("student"), made["config"]["task"]
    if made["stage"] == "label":
        if teacher:
            sources.append(Node("teacher", "teacher", teacher["model"], teacher_revision(made), _licence(teacher)))
        sources.append(Node("questions", "questions", f"task {task['name']}", note=_options(task)))
    has_model = any(parent.kind in ("model", "student") for parent in node.parents)
    if node.kind == "model" and student and not has_model:
        revision = student.get("revision") or ""
        sources.append(Node("student", "student", student["model"], revision, _licence(student)))
    return sources


def _options(task: dict[str, Any]) -> str:
    """Options of a task that are not its defaults, as far as these are known here."""
    try:
        usual = plain(resolved(task["name"]))
    except HFDistillError:
        usual = {}  # the task is not installed, or has options without a default
    return ", ".join(f"{key} {value}" for key, value in task.items() if key != "name" and usual.get(key) != value)


def _licence(section: dict[str, Any]) -> str:
    return f"licence {section['license']}" if section.get("license") else ""


def text_tree(root: Node) -> str:
    """The tree as lines of text; what came up before is named again, but not drawn again."""
    lines: list[str] = []
    drawn: set[tuple[str, str, str]] = set()

    def draw(node: Node, lead: str, below: str) -> None:
        role = f"{node.role}: " if node.role and node.role != node.kind else ""
        again = node.key in drawn and bool(node.parents)
        note = "see above" if again else node.remark
        lines.append(f"{lead}{role}{node.title}" + (f"  ({note})" if note else ""))
        drawn.add(node.key)
        for parent in () if again else node.parents:
            last = parent is node.parents[-1]
            draw(parent, below + ("└── " if last else "├── "), below + ("    " if last else "│   "))

    draw(root, "", "")
    return "\n".join(lines)
