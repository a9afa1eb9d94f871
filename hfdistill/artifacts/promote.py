"""Publish a run again on another Hub: parents first, so that what is pinned there is what was published there."""

import json
import re
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import HFDistillError
from ..kinds import KINDS
from ..progress import Progress
from .collection import by_title, note_of
from .digests import CARD, MANIFEST, digest_of, hash_file, is_data, is_licence
from .errors import explain, hub_errors
from .push import listing, verify
from .versions import OWN_FILE, Version, VersionSet


if TYPE_CHECKING:
    from huggingface_hub import HfApi

PINS = "space.json"
TRAILER = re.compile(r"Promoted-From: \S+ \S+@([0-9a-f]{40}) \((\S+) ([0-9a-f]{16})\)")


@dataclass
class Target:
    """A repository on the other Hub.

    Attributes:
        head (`str`): its newest commit, empty before it exists.
        files (`dict[str, str]`): key of each file there: sha256 of a large one, git's sha1 of another.
        made (`dict`): by a version's identity: the newest commit that brought it, and the one that it was made of.
    """

    head: str = ""
    files: dict[str, str] = field(default_factory=dict)
    made: dict[tuple[str, str], tuple[str, str]] = field(default_factory=dict)

    def missing(self, versions: list[Version]) -> list[Version]:
        """Which of a repository's versions are not there, or as they were before a card was edited at their origin."""
        commit, origin = self.made.get(versions[-1].identity, ("", ""))
        edited = commit == self.head and origin != versions[-1].revision
        return [each for each in versions if each.identity not in self.made or (edited and each is versions[-1])]


@dataclass
class Promotion:
    """Publishes the versions of a run that another Hub has not.

    Args:
        run ([`~hfdistill.artifacts.versions.VersionSet`]): what to publish.
        fetch (`Callable`): gives the content of a version's file as a file on this machine.
        api (`HfApi`): client of the Hub to write to.
        namespace (`str`): who will own the repositories there.
        private (`bool`): make them private, whatever they were.

    Attributes:
        commits (`dict[str, str]`): commit there by commit here.
        written (`int`): how many commits were made.
    """

    run: VersionSet
    fetch: Callable[[Version, str], Path]
    api: "HfApi"
    namespace: str
    private: bool = False
    commits: dict[str, str] = field(default_factory=dict)
    written: int = 0

    def __call__(self) -> list[tuple[str, str]]:
        """Publish what is missing.

        Returns:
            `list[tuple[str, str]]`: type and name of every repository on the other Hub.

        Raises:
            [`~hfdistill.errors.HFDistillError`]: if a repository there has data of its own, the token may not write,
                or what arrived is not what was sent.
        """
        places = self.run.places
        targets = {place: self._look(*place, versions) for place, versions in places.items()}
        for place, target in targets.items():
            if not target.head:
                targets[place] = self._create(*place)
        with Progress("promote", len(self.run.versions), "versions") as progress:
            for version in self.run.versions:
                target, new_id = targets[version.place], self.new_id(version.repo_id)
                with hub_errors(version.repo_type, new_id, self.api.endpoint):
                    if version in target.missing(places[version.place]):
                        self._publish(version, target)
                    commit, _ = target.made[version.identity]
                self.commits |= dict.fromkeys(version.commits, commit)
                progress.advance(repository=version.repo_id)
        self._collect()
        return [(repo_type, self.new_id(repo_id)) for repo_type, repo_id in targets]

    def new_id(self, repo_id: str) -> str:
        """Name of one of the run's repositories there."""
        return f"{self.namespace}/{repo_id.rpartition('/')[2]}"

    def _look(self, repo_type: str, repo_id: str, versions: list[Version]) -> Target:
        """What is there already; refused is what a promotion would bury, or show to everybody."""
        from huggingface_hub.errors import RepositoryNotFoundError

        new_id = self.new_id(repo_id)
        with hub_errors(repo_type, new_id, self.api.endpoint):
            try:
                public = not self.api.repo_info(new_id, repo_type=repo_type).private
            except RepositoryNotFoundError:
                return Target()
            self.api.auth_check(new_id, repo_type=repo_type, write=True)
            history = self.api.list_repo_commits(new_id, repo_type=repo_type)
            tags = {tag.name for tag in self.api.list_repo_refs(new_id, repo_type=repo_type).tags}
            target = Target(history[0].commit_id, self._keys(repo_type, new_id, history[0].commit_id))
            # Without its tag a version was not verified, and is brought again.
            verified = {each.identity for each in versions if each.tag in tags}
            last = None
            for commit in reversed(history):
                if brought := TRAILER.search(commit.message):
                    last = commit.commit_id
                    if brought.group(2, 3) in verified:
                        target.made[brought.group(2, 3)] = last, brought[1]
            own = _data(target.files) != (_data(self._keys(repo_type, new_id, last)) if last else {})
        trouble = None
        if own:
            trouble = "has data of its own, which this would bury: delete or rename it, or choose another --namespace"
        elif public and (self.private or versions[0].private):
            trouble = "is public, but what would go there is private: make it private in its settings first"
        if trouble and target.missing(versions):
            raise HFDistillError(f"{repo_type} {new_id!r} on {self.api.endpoint} {trouble}")
        return target

    def _create(self, repo_type: str, repo_id: str) -> Target:
        new_id, sdk = self.new_id(repo_id), "gradio" if repo_type == "space" else None
        private = self.private or self.run.places[repo_type, repo_id][0].private or None
        with hub_errors(repo_type, new_id, self.api.endpoint):
            self.api.create_repo(new_id, repo_type=repo_type, private=private, space_sdk=sdk)
            head = self.api.repo_info(new_id, repo_type=repo_type).sha
            return Target(head, self._keys(repo_type, new_id, head))

    def _keys(self, repo_type: str, new_id: str, commit: str) -> dict[str, str]:
        entries = listing(self.api, new_id, repo_type, commit)
        keys = {path: entry.lfs.sha256 if entry.lfs else entry.blob_id for path, entry in entries.items()}
        return {path: key for path, key in keys.items() if path != OWN_FILE}

    def _publish(self, version: Version, target: Target) -> None:
        """Make one commit of a version, compare what arrived with what was sent, and tag it."""
        from huggingface_hub import CommitOperationAdd, CommitOperationDelete

        new_id, (fingerprint, digest) = self.new_id(version.repo_id), version.identity
        stale = sorted(path for path in target.files.keys() - version.files.keys() if not is_licence(path))
        origin = f"{self.run.endpoint} {version.repo_type}:{version.repo_id}@{version.revision}"
        about = self.rewrite(TRAILER.sub("", version.message)).strip()
        with tempfile.TemporaryDirectory() as folder:
            changed = self._rewritten(version, Path(folder))
            additions = [
                CommitOperationAdd(path, str(changed.get(path) or self.fetch(version, path)))
                for path, sha256 in sorted(version.files.items())
                if path in changed or target.files.get(path) != sha256
            ]
            made = self.api.create_commit(
                new_id,
                [*additions, *map(CommitOperationDelete, stale)],
                commit_message=f"{version.manifest['stage']} {fingerprint}" if version.manifest else "source",
                commit_description=f"{about}\n\nPromoted-From: {origin} ({fingerprint} {digest})".strip(),
                repo_type=version.repo_type,
                parent_commit=target.head,
            )
            verify(self.api, new_id, version.repo_type, made.oid, additions)
        self.api.create_tag(new_id, tag=version.tag, revision=made.oid, repo_type=version.repo_type, exist_ok=True)
        self.written += made.oid != target.head  # a commit that changes nothing is not made
        target.head, target.files = made.oid, self._keys(version.repo_type, new_id, made.oid)
        target.made[version.identity] = made.oid, version.revision

    def _rewritten(self, version: Version, folder: Path) -> dict[str, Path]:
        """What speaks of other repositories, as it is there: the card, a Space's pins, the manifest."""
        new = {}
        for name in (CARD, PINS) if version.repo_type == "space" else (CARD,):
            if name in version.files:
                new[name] = folder / name
                text = self.fetch(version, name).read_bytes().decode(errors="surrogateescape")
                new[name].write_bytes(self.rewrite(text).encode(errors="surrogateescape"))
        if version.manifest:
            manifest = json.loads(self.rewrite(json.dumps(version.manifest)))
            # What the identity is made of stays: the configuration as it was, and the data.
            manifest |= {key: version.manifest[key] for key in ("config", "fingerprint", "digests", "files")}
            for name in new.keys() & manifest["files"].keys():
                if manifest["files"][name]["sha256"] == version.files[name]:  # else edited by hand, there as here
                    manifest["files"][name] = hash_file(new[name])
            manifest["digest"] = digest_of({name: keys["sha256"] for name, keys in manifest["files"].items()})
            new[MANIFEST] = folder / MANIFEST
            new[MANIFEST].write_text(json.dumps(manifest, indent=2, sort_keys=True) + "\n", encoding="utf-8")
        return new

    def rewrite(self, text: str) -> str:
        """Names, addresses and commits as they are on the other Hub."""
        ids = {repo_id for _, repo_id in self.run.places} | {f"{self.run.namespace}/{self.run.name}"}
        names = rf"(?:{'|'.join(map(re.escape, sorted(ids, key=len, reverse=True)))})(?![\w-]|\.\w)"
        # The run may have been published under another address of the same Hub than it is read from now.
        text = re.sub(rf"https?://[^\s/()]+(?=/(?:datasets/|spaces/)?{names})", self.api.endpoint, text)
        text = re.sub(rf"(?<![\w.-]){names}", lambda match: self.new_id(match[0]), text)
        commits = self.commits | {old[:12]: new[:12] for old, new in self.commits.items()}
        pattern = r"\b[0-9a-f]{40}\b|(?<=`)[0-9a-f]{12}(?=`)"
        return re.sub(pattern, lambda match: commits.get(match[0], match[0]), text)

    def _collect(self) -> None:
        """Make or complete the run's Collection; a Hub without them is no failure."""
        run = self.run
        made = [versions[-1] for versions in run.places.values() if versions[-1].manifest.get("run") == run.name]
        private = self.private or all(version.private for version in made)
        try:
            slug = by_title(self.api, run.name, self.namespace, private)
            for kind in KINDS.values():
                for version in made:
                    if version.manifest["kind"] == kind.name:
                        new_id = self.new_id(version.repo_id)
                        note = note_of(kind, version.repo_id.removeprefix(f"{run.namespace}/{run.name}-{kind.name}"))
                        self.api.add_collection_item(slug, new_id, version.repo_type, note=note, exists_ok=True)
        except Exception as error:
            reason = explain(error, self.api.endpoint)
            if reason is None:
                raise
            print(f"the repositories are there, but in no Collection: the Collection of run {run.name!r} {reason}")


def _data(keys: dict[str, str]) -> dict[str, str]:
    return {path: key for path, key in keys.items() if is_data(path)}
