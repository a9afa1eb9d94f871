"""A run's repositories with all their commits and tags, as read from a Hub."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from ..errors import HFDistillError
from .collection import title_of
from .digests import MANIFEST
from .errors import hub_errors
from .references import parse_ref


if TYPE_CHECKING:
    from huggingface_hub import HfApi

# Every Hub writes its own rules for large files into it.
OWN_FILE = ".gitattributes"
TYPES = ("dataset", "model", "space")


@dataclass(frozen=True)
class Commit:
    """One version of a repository.

    Attributes:
        id (`str`): 40 hexadecimal digits.
        title, message, date (`str`): as written.
        files (`dict[str, str]`): content's key by path; equal keys mean equal contents.
    """

    id: str
    title: str
    message: str
    date: str
    files: dict[str, str]


@dataclass
class Repository:
    """A repository's main branch, oldest commit first, and its tags (commit by name)."""

    repo_type: str
    repo_id: str
    private: bool
    commits: list[Commit]
    tags: dict[str, str]

    @property
    def name(self) -> str:
        """What stands behind the namespace."""
        return self.repo_id.rpartition("/")[2]


@dataclass
class Run:
    """Everything that belongs to a run.

    Attributes:
        name, namespace, endpoint (`str`): of the run, its owner, and the Hub that it was read from.
        repositories (`list[Repository]`): its artifacts, and the sources in the same namespace.
        items (`list[tuple[str, str, str]]`): type, repository and note of what stands in its Collection.
    """

    name: str
    namespace: str
    endpoint: str
    repositories: list[Repository]
    items: list[tuple[str, str, str]] = field(default_factory=list)


class Contents(Protocol):
    """Where the contents of a run's files come from."""

    def fetch(self, repository: Repository, commit: Commit, path: str) -> Path:
        """The content of one file as a file on this machine."""


class HubHistory:
    """Reads a run from a Hub; its own cache folder keeps two Hubs with equal names apart.

    Args:
        api (`HfApi`): client of the Hub.
        folder (`Path`): for downloads.
    """

    def __init__(self, api: "HfApi", folder: Path):
        self.api, self.folder = api, folder

    def fetch(self, repository: Repository, commit: Commit, path: str) -> Path:
        """Download one file of one commit."""
        with hub_errors(repository.repo_type, repository.repo_id, self.api.endpoint):
            local = self.api.hf_hub_download(
                repository.repo_id,
                path,
                repo_type=repository.repo_type,
                revision=commit.id,
                cache_dir=self.folder,
            )
        return Path(local)

    def run(self, ref: str) -> Run:
        """Read everything of the run `name` or `namespace/name`.

        Raises:
            [`~hfdistill.errors.HFDistillError`]: if the Hub has no artifact of it.
        """
        namespace, _, name = ref.rpartition("/")
        with hub_errors("run", ref, self.api.endpoint):
            namespace = namespace or self.api.whoami(token=self.api.token or "none")["name"]
            found = self._artifacts(namespace, name)
            if not found:
                raise HFDistillError(
                    f"{self.api.endpoint} has no artifact of run {name!r} in the namespace {namespace!r}: check both "
                    "(namespace/name)"
                )
            items = self._items(namespace, name)
            wanted = dict.fromkeys([*found, *((kind, repo_id) for kind, repo_id, _ in items)])
            for kind, repo_id in self._sources(namespace, found):
                wanted.setdefault((kind, repo_id))
            mine = [(kind, repo_id) for kind, repo_id in wanted if repo_id.startswith(f"{namespace}/")]
            return Run(name, namespace, self.api.endpoint, [self._repository(*each) for each in mine], items)

    def _artifacts(self, namespace: str, name: str) -> dict[tuple[str, str], dict[str, Any]]:
        """Manifests of the run's artifacts, by type and repository."""
        lists = {"dataset": self.api.list_datasets, "model": self.api.list_models, "space": self.api.list_spaces}
        found = {}
        for repo_type in TYPES:
            for info in lists[repo_type](author=namespace, search=f"{name}-"):
                manifest = self._manifest(repo_type, info.id)
                if info.id.startswith(f"{namespace}/") and manifest.get("run") == name:
                    found[repo_type, info.id] = manifest
        return found

    def _manifest(self, repo_type: str, repo_id: str) -> dict[str, Any]:
        from huggingface_hub.errors import EntryNotFoundError

        try:
            path = self.api.hf_hub_download(repo_id, MANIFEST, repo_type=repo_type, cache_dir=self.folder)
        except EntryNotFoundError:
            return {}
        return json.loads(Path(path).read_text(encoding="utf-8"))

    def _sources(self, namespace: str, found: dict[tuple[str, str], dict[str, Any]]) -> list[tuple[str, str]]:
        """Teacher, student and other parents that stand in the run's own namespace, so that no link breaks."""
        named = {}
        for manifest in found.values():
            for ref in manifest["parents"].values():
                repo_type, repo_id, _ = parse_ref(ref)
                named[repo_type, repo_id] = None
            for section in ("teacher", "student"):
                if manifest.get(section):
                    named["model", manifest[section]["model"]] = None
        return [
            (repo_type, repo_id)
            for repo_type, repo_id in named
            if repo_id.startswith(f"{namespace}/") and self.api.repo_exists(repo_id, repo_type=repo_type)
        ]

    def _items(self, namespace: str, name: str) -> list[tuple[str, str, str]]:
        from huggingface_hub.errors import HfHubHTTPError

        try:
            slugs = [
                found.slug for found in self.api.list_collections(owner=namespace) if found.title == title_of(name)
            ]
        except HfHubHTTPError:
            return []  # a Hub without Collections
        items = self.api.get_collection(slugs[0]).items if slugs else []
        return [(item.item_type, item.item_id, item.note or "") for item in items if item.item_type in TYPES]

    def _repository(self, repo_type: str, repo_id: str) -> Repository:
        with hub_errors(repo_type, repo_id, self.api.endpoint):
            info = self.api.repo_info(repo_id, repo_type=repo_type)
            made = reversed(self.api.list_repo_commits(repo_id, repo_type=repo_type))
            commits = [
                Commit(each.commit_id, each.title, each.message, each.created_at.isoformat(), files)
                for each in made
                for files in [files_at(self.api, repo_type, repo_id, each.commit_id)]
            ]
            refs = self.api.list_repo_refs(repo_id, repo_type=repo_type)
        tags = {tag.name: tag.target_commit for tag in refs.tags}
        return Repository(repo_type, repo_id, bool(info.private), commits, tags)


def files_at(api: "HfApi", repo_type: str, repo_id: str, revision: str) -> dict[str, str]:
    """Every file of a version with the key of its content: sha256 of large files, git's sha1 of the others."""
    from huggingface_hub.hf_api import RepoFile

    tree = api.list_repo_tree(repo_id, repo_type=repo_type, revision=revision, recursive=True)
    return {
        entry.path: entry.lfs.sha256 if entry.lfs else entry.blob_id
        for entry in tree
        if isinstance(entry, RepoFile) and entry.path != OWN_FILE
    }
