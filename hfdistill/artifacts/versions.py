"""The versions of a run on a Hub: the newest of every artifact and whatever those were made from, parents first."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache, cached_property, partial
from graphlib import TopologicalSorter
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ..errors import HFDistillError
from ..kinds import KINDS
from .digests import MANIFEST, digest_of, is_data, listing, sha256_of_listed
from .errors import hub_errors
from .metadata import teacher_revision
from .push import OWN_FILE, tag_of
from .references import parse_ref, read_manifest


if TYPE_CHECKING:
    from huggingface_hub import HfApi


@dataclass(eq=False)
class Version:
    """One version of a repository.

    Attributes:
        repo_type, repo_id, revision (`str`): where it is.
        private (`bool`): whether its repository is.
        message (`str`): description of its commit.
        files (`dict[str, str]`): sha256 of every file by path.
        tagged (`str` or `None`): commit that the tag of its fingerprint names.
        commits (`list[str]`): the revision, and others with the same data that are pinned or tagged.
        manifest (`dict`): content of `hfdistill.json`, `{}` for what hfdistill did not make.
    """

    repo_type: str
    repo_id: str
    revision: str
    private: bool
    message: str
    files: dict[str, str]
    tagged: str | None
    commits: list[str]
    manifest: dict[str, Any] = field(default_factory=dict)

    @property
    def place(self) -> tuple[str, str]:
        """Type and name of its repository."""
        return self.repo_type, self.repo_id

    @property
    def identity(self) -> tuple[str, str]:
        """Fingerprint and digest of the data: the same on every Hub, whatever the card says."""
        data = {path: sha256 for path, sha256 in self.files.items() if is_data(path)}
        return self.manifest.get("fingerprint", "-"), digest_of(data)

    @property
    def tag(self) -> str:
        """What marks it as complete: the tag of its fingerprint if it has one, else one of its data."""
        return tag_of(self.identity[0] if self.tagged in self.commits else self.identity[1])

    @property
    def pins(self) -> list[tuple[str, str, str]]:
        """Type, repository and commit of what it was made from; the last is empty where it is not known."""
        found = [parse_ref(ref) for ref in self.manifest.get("parents", {}).values()]
        if teacher := self.manifest.get("teacher"):
            found.append(("model", teacher["model"], teacher_revision(self.manifest)))
        if student := self.manifest.get("student"):
            found.append(("model", student["model"], student.get("revision") or ""))
        return found


class VersionSet(ABC):
    """What there is to publish of a run, on a Hub or in a file.

    Attributes:
        name, namespace, endpoint (`str`): of the run, its owner, and the Hub that it was read from.
        versions (`list[Version]`): parents before children, the older before the newer of a repository, Spaces last.
    """

    name: str
    namespace: str
    endpoint: str
    versions: list[Version]

    @cached_property
    def places(self) -> dict[tuple[str, str], list[Version]]:
        """Versions by type and name of their repository."""
        places: dict[tuple[str, str], list[Version]] = {}
        for version in self.versions:
            places.setdefault(version.place, []).append(version)
        return places

    @abstractmethod
    def fetch(self, version: Version, path: str) -> Path:
        """The content of one file of a version, as a file on this machine."""


class History(NamedTuple):
    """A repository's commits, newest first, with their messages; and the commits of its tags by name."""

    private: bool
    messages: dict[str, str]
    tags: dict[str, str]


def read_history(api: "HfApi", repo_type: str, repo_id: str) -> History | None:
    """What happened in a repository; `None` where there is none of this name."""
    from huggingface_hub.errors import HFValidationError, RepositoryNotFoundError

    try:
        private = bool(api.repo_info(repo_id, repo_type=repo_type).private)
    except (RepositoryNotFoundError, HFValidationError):
        return None
    messages = {commit.commit_id: commit.message for commit in api.list_repo_commits(repo_id, repo_type=repo_type)}
    tags = {tag.name: tag.target_commit for tag in api.list_repo_refs(repo_id, repo_type=repo_type).tags}
    return History(private, messages, tags)


class HubVersions(VersionSet):
    """A run as it is on a Hub: its newest complete artifacts, and what of the same namespace they need.

    Args:
        api (`HfApi`): client of the Hub.
        ref (`str`): the run, `name` or `namespace/name`.
        folder (`Path`): for downloads; a cache of its own keeps two Hubs with equal names apart.

    Raises:
        [`~hfdistill.errors.HFDistillError`]: if the Hub has no complete artifact of the run.
    """

    def __init__(self, api: "HfApi", ref: str, folder: Path):
        self.api, self.folder, self.endpoint = api, folder, api.endpoint
        self._history = cache(partial(read_history, api))
        self.namespace, _, self.name = ref.rpartition("/")
        with hub_errors("run", ref, self.endpoint):
            self.namespace = self.namespace or api.whoami(token=api.token or "none")["name"]
            found = list(self._artifacts())
            if not found:
                raise HFDistillError(
                    f"{self.endpoint} has no artifact of run {self.name!r} in the namespace {self.namespace!r} that "
                    "is complete: check both (namespace/name)"
                )
            self.versions = self._in_order(self._with_needed(found))

    def fetch(self, version: Version, path: str) -> Path:
        """The content of one file of a version, as a file on this machine."""
        with hub_errors(*version.place, self.endpoint):
            return Path(self._download(*version.place, version.revision, path))

    def _artifacts(self) -> Iterator[tuple[str, str, str]]:
        """Type, repository and commit of the newest complete version of each of the run's artifacts."""
        lists = {"dataset": self.api.list_datasets, "model": self.api.list_models, "space": self.api.list_spaces}
        for repo_type, repositories in lists.items():
            for repo_id in sorted(info.id for info in repositories(author=self.namespace, search=f"{self.name}-")):
                if repo_id.startswith(tuple(f"{self.namespace}/{self.name}-{kind}" for kind in KINDS)):
                    commit = self._newest(repo_type, repo_id)
                    if commit and self._manifest(repo_type, repo_id, commit).get("run") == self.name:
                        yield repo_type, repo_id, commit

    def _newest(self, repo_type: str, repo_id: str) -> str | None:
        """The newest commit, unless it holds a version that is not complete: then the newest with a tag."""
        history = self._history(repo_type, repo_id)
        newest = next(iter(history.messages))
        manifest = self._manifest(repo_type, repo_id, newest)
        if not manifest or tag_of(manifest["fingerprint"]) in history.tags:
            return newest
        tagged = {commit for tag, commit in history.tags.items() if tag.startswith(tag_of(""))}
        return next((commit for commit in history.messages if commit in tagged), None)

    def _with_needed(self, wanted: list[tuple[str, str, str]]) -> list[Version]:
        """These versions, and each that one of them needs and whose data none of them has."""
        kept: list[Version] = []
        for repo_type, repo_id, commit in wanted:  # grows while it is read
            siblings = [version for version in kept if version.place == (repo_type, repo_id)]
            if any(commit in version.commits for version in siblings):
                continue
            version = self._version(repo_type, repo_id, commit)
            same = next((sibling for sibling in siblings if sibling.identity == version.identity), None)
            if same:
                same.commits.append(commit)
            else:
                kept.append(version)
                wanted += self._needed(version)
        return kept

    def _needed(self, version: Version) -> list[tuple[str, str, str]]:
        """What has to be there with a version: itself before edits by hand, and what it was made from."""
        needed = [(*version.place, version.tagged)]
        for *place, commit in version.pins:
            if place[1].startswith(f"{self.namespace}/") and self._history(*place):
                needed += [(*place, self._newest(*place)), (*place, commit)]
        return [each for each in needed if each[2] in self._history(*each[:2]).messages]

    def _version(self, repo_type: str, repo_id: str, commit: str) -> Version:
        history, manifest = self._history(repo_type, repo_id), self._manifest(repo_type, repo_id, commit)
        recorded, fetch = manifest.get("files", {}), partial(self._download, repo_type, repo_id, commit)
        listed = listing(self.api, repo_id, repo_type, commit)
        files = {path: sha256_of_listed(listed[path], recorded, fetch) for path in listed.keys() - {OWN_FILE}}
        tagged = history.tags.get(tag_of(manifest["fingerprint"])) if manifest else None
        message = history.messages.get(tagged) or history.messages[commit]
        return Version(repo_type, repo_id, commit, history.private, message, files, tagged, [commit], manifest)

    def _in_order(self, versions: list[Version]) -> list[Version]:
        def before(other: Version, version: Version) -> bool:
            if other.place == version.place:
                commits = list(self._history(*version.place).messages)
                return commits.index(other.revision) > commits.index(version.revision)
            if other.repo_type != "space" and version.repo_type == "space":
                return True
            return any((*other.place, commit) in version.pins for commit in other.commits)

        graph = {version: [other for other in versions if before(other, version)] for version in versions}
        return list(TopologicalSorter(graph).static_order())

    def _manifest(self, repo_type: str, repo_id: str, commit: str) -> dict[str, Any]:
        from huggingface_hub.errors import EntryNotFoundError

        try:
            path = self._download(repo_type, repo_id, commit, MANIFEST)
        except EntryNotFoundError:
            return {}
        return read_manifest(Path(path), f"{repo_id}@{commit}", repo_type)

    def _download(self, repo_type: str, repo_id: str, commit: str, path: str) -> str:
        return self.api.hf_hub_download(repo_id, path, repo_type=repo_type, revision=commit, cache_dir=self.folder)
