"""The store: where a run's artifacts are found and published, the Hub or folders."""

import json
import os
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..config import Config, RunConfig
from ..errors import HFDistillError
from ..kinds import KINDS, Kind
from .collection import add_to_collection
from .digests import CARD, MANIFEST, is_licence
from .errors import hub_errors
from .manifest import describe_changes, recorded
from .push import files_of, push_files, tag_of
from .references import Artifact, named, open_artifact


class Store:
    """Where a run's artifacts are published: the Hub, or folders when `push` is off.

    What somebody edited by hand is kept: a card, a licence or a picture whatever happens, data unless
    `run.overwrite_edits` says that it may go.

    Args:
        run ([`~hfdistill.config.RunConfig`]): names the artifacts.
        place (`str`, *optional*): the one repository or folder to write, in place of those that the run names.

    Raises:
        [`~hfdistill.errors.HFDistillError`]: if the Hub cannot be reached or the token is missing or refused.
    """

    def __init__(self, run: RunConfig, place: str | None = None):
        self.run, self.place = run, place
        self.namespace = run.namespace
        self._told: set[str] = set()
        if run.push and place is None and self.namespace is None:
            from huggingface_hub import HfApi, constants, get_token

            # Without a token the client would not even ask, but a Hub that is open to this machine answers.
            with hub_errors("account", constants.ENDPOINT):
                self.namespace = HfApi().whoami(token=get_token() or "none")["name"]

    def name(self, kind: Kind) -> str:
        """Where the artifact of this kind is written: `namespace/{run}-{kind}{suffix}` or a folder."""
        return self.place or self._in_run(f"{self.run.name}-{kind.name}{self.run.suffix}")

    def parent(self, kind: Kind) -> str:
        """Where the run's main artifact of this kind is read by default: the same, without the run's suffix."""
        return self._in_run(f"{self.run.name}-{kind.name}")

    def _in_run(self, name: str) -> str:
        if self.run.push:
            return f"{self.namespace}/{name}"
        return str(Path(self.run.output_dir) / "artifacts" / name)

    def open_parents(
        self, kind: Kind, config: Config, files: dict[str, list[str]] | None = None
    ) -> dict[str, Artifact]:
        """Open what an artifact of this kind is made from: what the stage's settings name, or the run's own.

        Args:
            kind ([`~hfdistill.kinds.Kind`]): its `parents` are opened.
            config ([`~hfdistill.config.Config`]): a setting of the stage with a role's name stands in for the run's
                artifact (`--labels namespace/name`).
            files (`dict[str, list[str]]`, *optional*): of these roles only these files.

        Returns:
            `dict[str, Artifact]`: by role.
        """
        settings, files = vars(config.stage), files or {}
        parents = {}
        for role in kind.parents:
            if role == "student":
                parents[role] = open_artifact(config.student.ref, "model", files.get(role))
            else:
                ref = settings.get(role) or self.parent(KINDS[role])
                parents[role] = open_artifact(ref, KINDS[role].repo_type, files.get(role))
        return parents

    def newest(self, kind: Kind) -> Artifact | None:
        """The version published last, on the Hub without its files; `None` where there is none yet."""
        return None if self._tags(self.name(kind), kind.repo_type) is None else self._newest(kind)

    def find(self, kind: Kind, fingerprint: str) -> Artifact | None:
        """The complete artifact with this fingerprint, or `None` if it was not made yet.

        If its data was edited by hand, that is said, and the edited data stands, from which later stages are made
        anew; with `run.overwrite_edits` it gives way. If it was made by an earlier version of the configuration, and
        another was published since, it is put in front again: later stages read the newest.

        Raises:
            [`~hfdistill.errors.HFDistillError`]: if it would have to be put in front of data edited by hand.
        """
        name, repo_type, tag = self.name(kind), kind.repo_type, tag_of(fingerprint)
        tags = self._tags(name, repo_type)
        newest = None if tags is None else self._newest(kind)
        if newest is None or (self.run.push and tag not in tags):
            return None
        first_process = os.environ.get("RANK", "0") == "0"
        current = newest.manifest.get("fingerprint") == fingerprint
        if current and not (newest.edited and self.run.overwrite_edits):
            if newest.edited and first_process:
                print(f"{name}: the data was edited by hand ({named(newest.edited)}), and is used as it is now")
            return open_artifact(f"{name}@{newest.revision}", repo_type) if self.run.push else newest
        if not self.run.push:
            return None  # a folder has no earlier versions
        self._keep_edits(newest)
        found = open_artifact(f"{name}@{tag}", repo_type)
        return self._put_in_front(found, kind) if first_process else found

    def prepare(self, kind: Kind, coming: dict[str, Any] | None = None) -> list[str]:
        """Create the repository before anything expensive, so that what is in the way is known before and not after.

        Args:
            kind ([`~hfdistill.kinds.Kind`]): what will be published.
            coming (`dict`, *optional*): [`~hfdistill.artifacts.manifest.manifest`] of what will be published. If
                there is an earlier version, what changed since is printed: the time to notice a slip in the
                configuration is now.

        Returns:
            `list[str]`: what changed, a line a change.

        Raises:
            [`~hfdistill.errors.HFDistillError`]: if the token may not write there, the run is private and the
                repository exists as a public one, or data edited by hand would be lost.
        """
        name, repo_type = self.name(kind), kind.repo_type
        if self.run.push:
            self._create(name, repo_type)
        else:
            parent = Path(name).parent
            parent.mkdir(parents=True, exist_ok=True)
            if not os.access(parent, os.W_OK):
                raise HFDistillError(f"folder {str(parent)!r} is not writable: set run.output_dir to another one")
        newest = self._newest(kind)
        if newest is None:
            return []
        self._keep_edits(newest)
        changes = describe_changes(newest.manifest, coming) if coming else []
        if changes and coming["fingerprint"] not in self._told:
            print(f"{name}: a new version, because of\n" + "\n".join(f"  {line}" for line in changes))
            self._told.add(coming["fingerprint"])
        return changes

    def publish(
        self,
        folder: str | Path,
        kind: Kind,
        manifest: dict[str, Any],
        card: str | None = None,
        plots: Sequence[str] = (),
    ) -> Artifact:
        """Publish a folder with its card and manifest as one commit, check what arrived, and tag it as complete.

        Files that an earlier version had and this one has not are deleted in the same commit, licences apart. What
        changed since that version stands in its message, and is printed unless [`prepare`] did. The artifact is added
        to the run's Collection.

        Args:
            folder (`str` or `Path`): files of the artifact.
            kind ([`~hfdistill.kinds.Kind`]): of the artifact.
            manifest (`dict`): from [`~hfdistill.artifacts.manifest.manifest`].
            card (`str`, *optional*): text of README.md; made from the kind's template by default.
            plots (`Sequence[str]`, *optional*): paths of PNG files within the folder, which that card shows.

        Returns:
            [`Artifact`]: as read back.

        Raises:
            [`~hfdistill.errors.HFDistillError`]: if a file is a pickle, data edited by hand would be lost, the Hub
                refuses, or what arrived is not what was sent.
        """
        from . import cards

        folder, name = Path(folder), self.name(kind)
        files_of(folder)
        manifest = {**manifest, **recorded(folder)}
        card = card or cards.card(kind, manifest, repo_id=name, plots=plots)
        if kind.repo_type == "dataset":
            card = cards.fit_to_folder(card, folder)
        (folder / MANIFEST).write_text(json.dumps(manifest, indent=2, sort_keys=True) + "\n", encoding="utf-8")
        (folder / CARD).write_text(card, encoding="utf-8")
        changes = self.prepare(kind, manifest)
        if not self.run.push:
            return _replace_folder(folder, Path(name), kind.repo_type)
        from huggingface_hub import HfApi

        key, files = manifest["fingerprint"], files_of(folder)
        title = f"{manifest['stage']} {key}"
        revision = push_files(HfApi(), name, kind.repo_type, files, tag_of(key), title, "\n".join(changes))
        if self.place is None:
            add_to_collection(self.run, self.namespace, kind, name)
        return open_artifact(f"{name}@{revision}", kind.repo_type)

    def _newest(self, kind: Kind) -> Artifact | None:
        """The version published last, on the Hub without its files; `None` if there is no folder."""
        name = self.name(kind)
        if self.run.push:
            return open_artifact(name, kind.repo_type, patterns=[])
        return open_artifact(name, kind.repo_type) if _settled(Path(name)).is_dir() else None

    def _keep_edits(self, newest: Artifact) -> None:
        if newest.edited and not self.run.overwrite_edits:
            raise HFDistillError(
                f"{newest.repo_type} {newest.repo_id!r} was edited by hand ({named(newest.edited)}), and another "
                "version would replace that: give --overwrite_edits to let it, or choose another run.name"
            )

    def _put_in_front(self, found: Artifact, kind: Kind) -> Artifact:
        with tempfile.TemporaryDirectory() as folder:
            copy = Path(folder) / "artifact"
            shutil.copytree(found.path, copy, ignore=shutil.ignore_patterns(".gitattributes"))
            return self.publish(copy, kind, found.manifest, (copy / CARD).read_text(encoding="utf-8"))

    def _tags(self, name: str, repo_type: str) -> set[str] | None:
        """Tags of a repository, none for a folder; `None` if there is no such repository."""
        if not self.run.push:
            return set()
        from huggingface_hub import HfApi
        from huggingface_hub.errors import RepositoryNotFoundError

        with hub_errors(repo_type, name):
            try:
                return {tag.name for tag in HfApi().list_repo_refs(name, repo_type=repo_type).tags}
            except RepositoryNotFoundError:
                return None

    def _create(self, name: str, repo_type: str) -> None:
        from huggingface_hub import HfApi

        api = HfApi()
        sdk = "gradio" if repo_type == "space" else None
        with hub_errors(repo_type, name):
            api.create_repo(name, repo_type=repo_type, private=self.run.private or None, exist_ok=True, space_sdk=sdk)
            # A token that may only read passes the call above where the repository exists already.
            api.auth_check(name, repo_type=repo_type, write=True)
            if self.run.private and not api.repo_info(name, repo_type=repo_type).private:
                raise HFDistillError(
                    f"{repo_type} {name!r} is public, but run.private is true: make it private in its settings, or "
                    "choose another run.name"
                )


def _settled(place: Path) -> Path:
    """Finish a replacement that was cut off between its two renames."""
    previous = place.with_name(place.name + ".previous")
    if previous.is_dir() and not place.exists():
        previous.rename(place)
    return place


def _replace_folder(folder: Path, place: Path, repo_type: str) -> Artifact:
    """Put a folder in place by rename, so that neither a half-copied artifact nor none is ever seen."""
    place.parent.mkdir(parents=True, exist_ok=True)
    incoming, previous = (place.with_name(place.name + end) for end in (".incoming", ".previous"))
    shutil.rmtree(incoming, ignore_errors=True)
    shutil.copytree(folder, incoming)
    if _settled(place).exists():
        for path in [path for path in place.rglob("*") if path.is_file() and is_licence(path.name)]:
            kept = incoming / path.relative_to(place)
            if not kept.exists():
                kept.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, kept)
        shutil.rmtree(previous, ignore_errors=True)
        place.rename(previous)
    incoming.rename(place)
    shutil.rmtree(previous, ignore_errors=True)
    return open_artifact(str(place), repo_type)
