"""Publish a run again on another Hub: parents first, so that what is pinned there is what was published there."""

import json
import re
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import HFDistillError
from ..kinds import KINDS
from ..progress import Progress
from .collection import COLLECTION, by_title, note_of
from .digests import CARD, MANIFEST, digest_of, hash_file, is_data, listing
from .errors import hub_errors
from .push import push_files
from .versions import Version, VersionSet, read_history


if TYPE_CHECKING:
    from huggingface_hub import HfApi

PINS = "space.json"
TRAILER = re.compile(r"Promoted-From: \S+ \S+@([0-9a-f]{40}) \((\S+) ([0-9a-f]{16})\)")


@dataclass
class Target:
    """A repository on the other Hub."""

    repo_id: str  # its name there
    missing: list[Version]  # what has to be published there
    head: str = ""  # its newest commit, empty before it exists
    made: dict[tuple[str, str], str] = field(default_factory=dict)  # newest commit by identity of a version


@dataclass
class Promotion:
    """Publishes the versions of a run that another Hub has not.

    Args:
        run ([`~hfdistill.artifacts.versions.VersionSet`]): what to publish.
        api (`HfApi`): client of the Hub to write to.
        namespace (`str`): who will own the repositories there.
        private (`bool`): make them private, whatever they were.

    Attributes:
        commits (`dict[str, str]`): commit there by commit here.
    """

    run: VersionSet
    api: "HfApi"
    namespace: str
    private: bool = False
    commits: dict[str, str] = field(default_factory=dict)

    def __call__(self) -> int:
        """Publish what is missing.

        Returns:
            `int`: how many commits were made.

        Raises:
            [`~hfdistill.errors.HFDistillError`]: if a repository there has data of its own, the token may not write,
                or what arrived is not what was sent.
        """
        targets, written = {place: self._look(versions) for place, versions in self.run.places.items()}, 0
        with Progress("promote", len(self.run.versions), "versions") as progress:
            for version in self.run.versions:
                target = targets[version.place]
                if version in target.missing:
                    with hub_errors(version.repo_type, target.repo_id, self.api.endpoint):
                        written += self._publish(version, target)
                self.commits |= dict.fromkeys(version.commits, target.made[version.identity])
                progress.advance(repository=version.repo_id)
        self._collect()
        return written

    def new_id(self, repo_id: str) -> str:
        """Name of one of the run's repositories there."""
        return f"{self.namespace}/{repo_id.rpartition('/')[2]}"

    def _look(self, versions: list[Version]) -> Target:
        """What is there already; refused is what a promotion would bury, or show to everybody."""
        repo_type, new_id = versions[0].repo_type, self.new_id(versions[0].repo_id)
        with hub_errors(repo_type, new_id, self.api.endpoint):
            history = read_history(self.api, repo_type, new_id)
            if history is None:
                return Target(new_id, versions)
            self.api.auth_check(new_id, repo_type=repo_type, write=True)
            target = Target(new_id, [], next(iter(history.messages)))
            # Without its tag a version was not verified, and is brought again.
            verified = {each.identity for each in versions if each.tag in history.tags}
            found = {commit: TRAILER.search(message) for commit, message in history.messages.items()}
            brought = {commit: match.groups() for commit, match in found.items() if match}
            for commit, (_, *identity) in reversed(brought.items()):
                if tuple(identity) in verified:
                    target.made[tuple(identity)] = commit
            last = next(iter(brought), None)
            own = self._data(repo_type, new_id, target.head) != (self._data(repo_type, new_id, last) if last else {})
        newest = versions[-1]
        # The newest again if its card was edited here and not there; all from the first that is missing, to end in it.
        edited = target.made.get(newest.identity) == target.head and brought[target.head][0] != newest.revision
        lacking = (index for index, each in enumerate(versions) if each.identity not in target.made)
        target.missing = versions[next(lacking, len(versions) - edited) :]
        trouble = None
        if own:
            trouble = "has data of its own, which this would bury: delete or rename it, or choose another --namespace"
        elif not history.private and (self.private or newest.private):
            trouble = "is public, but what would go there is private: make it private in its settings first"
        if trouble and target.missing:
            raise HFDistillError(f"{repo_type} {new_id!r} on {self.api.endpoint} {trouble}")
        return target

    def _data(self, repo_type: str, new_id: str, commit: str) -> dict[str, str]:
        files = listing(self.api, new_id, repo_type, commit)
        return {path: entry.blob_id for path, entry in files.items() if is_data(path)}

    def _publish(self, version: Version, target: Target) -> bool:
        """Make one commit of a version, unless it would change nothing."""
        repo_type, new_id = version.repo_type, target.repo_id
        if not target.head:
            private, sdk = self.private or version.private or None, "gradio" if repo_type == "space" else None
            self.api.create_repo(new_id, repo_type=repo_type, private=private, space_sdk=sdk)
            target.head = self.api.repo_info(new_id, repo_type=repo_type).sha
        fingerprint, digest = version.identity
        title = f"{version.manifest['stage']} {fingerprint}" if version.manifest else "source"
        about = self.rewrite(TRAILER.sub("", version.message)).strip()
        origin = f"{self.run.endpoint} {repo_type}:{version.repo_id}@{version.revision}"
        about = f"{about}\n\nPromoted-From: {origin} ({fingerprint} {digest})".strip()
        there = listing(self.api, new_id, repo_type, target.head)
        large = {path: entry.lfs.sha256 for path, entry in there.items() if entry.lfs}
        with tempfile.TemporaryDirectory() as folder:
            files = self._rewritten(version, Path(folder))
            for path, sha256 in version.files.items():
                if path not in files and large.get(path) != sha256:
                    files[path] = self.run.fetch(version, path)
            commit = push_files(
                self.api, new_id, repo_type, files, version.tag, title, about, target.head, version.files
            )
        new = commit != target.head
        target.head = target.made[version.identity] = commit
        return new

    def _rewritten(self, version: Version, folder: Path) -> dict[str, Path]:
        """What speaks of other repositories, as it is there: the card, a Space's pins, the manifest."""
        new = {}
        for name in (CARD, PINS) if version.repo_type == "space" else (CARD,):
            if name in version.files:
                new[name] = folder / name
                text = self.run.fetch(version, name).read_bytes().decode(errors="surrogateescape")
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
            with hub_errors(COLLECTION, run.name, self.api.endpoint):
                slug = by_title(self.api, run.name, self.namespace, private)
                # Models that a run began with by making them itself, as the demo does, are of no kind of the table.
                order = {name: number for number, name in enumerate(KINDS)}
                for version in sorted(made, key=lambda each: order.get(each.manifest["kind"], -1)):
                    kind, new_id = KINDS.get(version.manifest["kind"]), self.new_id(version.repo_id)
                    suffix = version.repo_id.removeprefix(f"{run.namespace}/{run.name}-{version.manifest['kind']}")
                    note = note_of(kind, suffix) if kind else None
                    self.api.add_collection_item(slug, new_id, version.repo_type, note=note, exists_ok=True)
        except HFDistillError as error:
            print(f"the repositories are there, but in no Collection: {error}")
