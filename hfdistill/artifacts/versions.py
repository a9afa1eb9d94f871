"""The versions of a run on a Hub: the newest of every artifact and whatever those were made from, parents first."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ..errors import HFDistillError
from ..kinds import KINDS
from .digests import MANIFEST, digest_of, hash_file, is_data
from .errors import hub_errors
from .metadata import teacher_revision
from .push import listing, tag_of
from .references import parse_ref, read_manifest


if TYPE_CHECKING:
    from huggingface_hub import HfApi

# Every Hub writes its own rules for large files into it.
OWN_FILE = ".gitattributes"


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


@dataclass
class VersionSet:
    """What there is to publish of a run.

    Attributes:
        name, namespace, endpoint (`str`): of the run, its owner, and the Hub that it was read from.
        versions (`list[Version]`): parents before children, the older before the newer of a repository, Spaces last.
    """

    name: str
    namespace: str
    endpoint: str
    versions: list[Version]

    @property
    def places(self) -> dict[tuple[str, str], list[Version]]:
        """Versions by type and name of their repository."""
        places: dict[tuple[str, str], list[Version]] = {}
        for version in self.versions:
            places.setdefault(version.place, []).append(version)
        return places


class _History(NamedTuple):
    private: bool
    messages: dict[str, str]  # by commit, newest first
    tags: dict[str, str]  # commits by name


class HubVersions:
    """Reads a run from a Hub; its own cache folder keeps two Hubs with equal names apart.

    Args:
        api (`HfApi`): client of the Hub.
        folder (`Path`): for downloads.
    """

    def __init__(self, api: "HfApi", folder: Path):
        self.api, self.folder = api, folder
        self._history = cache(self._read_history)

    def fetch(self, version: Version, path: str) -> Path:
        """The content of one file as a file on this machine."""
        with hub_errors(*version.place, self.api.endpoint):
            return self._download(*version.place, version.revision, path)

    def run(self, ref: str) -> VersionSet:
        """Find what belongs to the run `name` or `namespace/name`; sources in the same namespace do.

        Raises:
            [`~hfdistill.errors.HFDistillError`]: if the Hub has no complete artifact of it.
        """
        namespace, _, name = ref.rpartition("/")
        with hub_errors("run", ref, self.api.endpoint):
            namespace = namespace or self.api.whoami(token=self.api.token or "none")["name"]
            found = list(self._artifacts(namespace, name))
            if not found:
                raise HFDistillError(
                    f"{self.api.endpoint} has no artifact of run {name!r} in the namespace {namespace!r} that is "
                    "complete: check both (namespace/name)"
                )
            return VersionSet(name, namespace, self.api.endpoint, self._in_order(self._versions(namespace, found)))

    def _artifacts(self, namespace: str, name: str) -> Iterator[tuple[str, str, str]]:
        """Type, repository and commit of the newest complete version of each of the run's artifacts."""
        lists = {"dataset": self.api.list_datasets, "model": self.api.list_models, "space": self.api.list_spaces}
        for repo_type, repositories in lists.items():
            for repo_id in sorted(info.id for info in repositories(author=namespace, search=f"{name}-")):
                if repo_id.startswith(tuple(f"{namespace}/{name}-{kind}" for kind in KINDS)):
                    commit = self._newest(repo_type, repo_id)
                    if commit and self._manifest(repo_type, repo_id, commit).get("run") == name:
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

    def _versions(self, namespace: str, pending: list[tuple[str, str, str]]) -> list[Version]:
        """These versions, and each that one of them needs and whose data none of them has."""
        kept: list[Version] = []
        for *place, commit in pending:  # grows while it is read
            siblings = [version for version in kept if version.place == tuple(place)]
            if any(commit in version.commits for version in siblings):
                continue
            version = self._version(*place, commit)
            same = next((sibling for sibling in siblings if sibling.identity == version.identity), None)
            if same:
                same.commits.append(commit)
            else:
                kept.append(version)
                pending += self._needed(version, namespace)
        return kept

    def _needed(self, version: Version, namespace: str) -> list[tuple[str, str, str]]:
        """What has to be there with a version: itself before edits by hand, and what it was made from."""
        wanted = [(*version.place, version.tagged)]
        for repo_type, repo_id, commit in version.pins:
            if repo_id.startswith(f"{namespace}/") and self._history(repo_type, repo_id):
                wanted += [(repo_type, repo_id, self._newest(repo_type, repo_id)), (repo_type, repo_id, commit)]
        return [each for each in wanted if each[2] in self._history(*each[:2]).messages]

    def _version(self, repo_type: str, repo_id: str, commit: str) -> Version:
        manifest = self._manifest(repo_type, repo_id, commit)
        files = {}
        for path, entry in listing(self.api, repo_id, repo_type, commit).items():
            recorded = manifest.get("files", {}).get(path)
            if path == OWN_FILE:
                continue
            if entry.lfs is not None:
                files[path] = entry.lfs.sha256
            elif recorded and recorded["git"] == entry.blob_id:
                files[path] = recorded["sha256"]
            else:
                files[path] = hash_file(self._download(repo_type, repo_id, commit, path))["sha256"]
        history = self._history(repo_type, repo_id)
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

    def _read_history(self, repo_type: str, repo_id: str) -> _History | None:
        from huggingface_hub.errors import HFValidationError, RepositoryNotFoundError

        try:
            private = bool(self.api.repo_info(repo_id, repo_type=repo_type).private)
        except (RepositoryNotFoundError, HFValidationError):
            return None
        commits = self.api.list_repo_commits(repo_id, repo_type=repo_type)
        tags = self.api.list_repo_refs(repo_id, repo_type=repo_type).tags
        messages = {commit.commit_id: commit.message for commit in commits}
        return _History(private, messages, {tag.name: tag.target_commit for tag in tags})

    def _manifest(self, repo_type: str, repo_id: str, commit: str) -> dict[str, Any]:
        from huggingface_hub.errors import EntryNotFoundError

        try:
            path = self._download(repo_type, repo_id, commit, MANIFEST)
        except EntryNotFoundError:
            return {}
        return read_manifest(path, f"{repo_id}@{commit}", repo_type)

    def _download(self, repo_type: str, repo_id: str, commit: str, path: str) -> Path:
        where = {"repo_type": repo_type, "revision": commit, "cache_dir": self.folder}
        return Path(self.api.hf_hub_download(repo_id, path, **where))
