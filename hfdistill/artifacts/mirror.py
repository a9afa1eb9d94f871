"""Repositories of another Hub copied into the folder of an embedded one: for sites that reach no other Hub."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

from ..errors import HFDistillError
from ..servers.hub.database import time_text
from ..servers.hub.direct_files import disk_errors
from ..servers.hub.history import Commit
from ..servers.hub.intake import USER, Intake, Listed
from ..servers.hub.service import Hub
from .collection import title_of
from .errors import hub_errors
from .references import REPO_TYPES


if TYPE_CHECKING:
    from huggingface_hub import HfApi
    from huggingface_hub.hf_api import GitCommitInfo

KINDS = {"models": "model", "datasets": "dataset", "spaces": "space", "collections": "collection", "runs": "run"}
# Contents that come in at once.
AT_ONCE = 8


class Place(NamedTuple):
    """Type and name of what is to be copied; a Collection and a run have types, too."""

    repo_type: str
    repo_id: str


class Mirror:
    """Copies repositories with their branches, tags and commits.

    What is here already is not asked for again, so a second call brings what is new, and one after a kill goes on
    where that happened, in the middle of a file too. Branches and tags move when all that they lead to is here. The
    other Hub's API lists the commits of a branch as one line; merges come as commits of it. Discussions and pull
    requests stay behind.

    Args:
        api (`HfApi`): client of the other Hub.
        hub (`Hub`): where to; its server may be running.
        revisions (`list[str]`, *optional*): only these branches, tags or commits, without the history before them. A
            commit gets the tag `commit-<first 12 digits>`, so that it is kept.
    """

    def __init__(self, api: "HfApi", hub: Hub, revisions: list[str] | None = None):
        self.api, self.hub, self.revisions = api, hub, revisions or []

    def __call__(self, name: str) -> Iterator[str]:
        """Copy a repository, or a Collection and all repositories in it; one sentence each.

        Raises:
            [`~hfdistill.errors.HFDistillError`]: if the other Hub has none of this name, or gives it to others only.
            [`~hfdistill.servers.hub.errors.HubError`]: if what is here under this name is something else, or the disk
                is full.
        """
        kind, _, rest = name.strip("/").partition("/")
        place = Place(KINDS[kind], rest) if kind in KINDS else Place("model", name.strip("/"))
        if place.repo_id.count("/") != 1:
            raise HFDistillError(
                f"{name!r} names nothing to copy: write namespace/name, datasets/namespace/name, "
                "spaces/namespace/name, collections/namespace/slug or runs/namespace/run"
            )
        if kind in ("collections", "runs"):
            yield from self._collection(place)
        else:
            yield self._repository(place)

    def _collection(self, place: Place) -> Iterator[str]:
        with hub_errors(*place, self.api.endpoint):
            slug = place.repo_id
            if place.repo_type == "run":
                namespace, name = slug.split("/")
                title = title_of(name)
                slugs = [each.slug for each in self.api.list_collections(owner=namespace) if each.title == title]
                if not slugs:
                    raise HFDistillError(f"{self.api.endpoint} has no Collection {title!r} of {namespace!r}")
                slug = slugs[0]
            collection = self.api.get_collection(slug)
        items = [item for item in collection.items if item.item_type in REPO_TYPES]
        for item in items:
            yield self._repository(Place(item.item_type, item.item_id))
        body = {"namespace": collection.slug.partition("/")[0], "title": collection.title}
        body |= {"description": collection.description, "private": collection.private}
        made, _ = self.hub.collections.create(USER, body)
        known = {(row["type"], row["item"].lower()) for row in self.hub.collections.items(USER, made)}
        for item in items:
            if (item.item_type, item.item_id.lower()) not in known:
                entry = {"type": item.item_type, "id": item.item_id}
                self.hub.collections.add_item(USER, made.slug, {"item": entry, "note": item.note})
        yield f"collection {made.slug}: {len(items)} repositories"

    def _repository(self, place: Place) -> str:
        with hub_errors(*place, self.api.endpoint):
            info = self.api.repo_info(place.repo_id, repo_type=place.repo_type)
            place = Place(place.repo_type, info.id)
            refs, history, theirs = self._history(place)
            intake = Intake(self.hub, *place, sdk=info.sdk if place.repo_type == "space" else None)
            commits, files = self._bring(intake, place, history)
            intake.set_refs(refs, theirs)
            intake.finish(bool(info.private), info.gated or None)
        return f"{place.repo_type} {place.repo_id}: {commits} commits and {files} files are new"

    def _history(self, place: Place) -> tuple[dict[str, str], dict[str, tuple["GitCommitInfo", str | None]], set[str]]:
        """Commits by ref; by id each commit to bring and its parent, the oldest first; the ids of all there are."""
        listed = self.api.list_repo_refs(place.repo_id, repo_type=place.repo_type)
        refs = {ref.ref: ref.target_commit for ref in (*listed.branches, *listed.tags)}
        if self.revisions:
            refs = dict(self._chosen(place, refs, revision) for revision in self.revisions)
        history: dict[str, tuple[GitCommitInfo, str | None]] = {}
        theirs: set[str] = set()
        for commit in refs.values():
            if commit in history:
                continue
            line = self.api.list_repo_commits(place.repo_id, repo_type=place.repo_type, revision=commit)
            theirs |= {each.commit_id for each in line}
            if self.revisions:
                line = line[:1]
            parent = None
            for each in reversed(line):
                history.setdefault(each.commit_id, (each, parent))
                parent = each.commit_id
        return refs, history, theirs

    def _chosen(self, place: Place, refs: dict[str, str], revision: str) -> tuple[str, str]:
        for name in (revision, f"refs/heads/{revision}", f"refs/tags/{revision}"):
            if name in refs:
                return name, refs[name]
        commit = self.api.repo_info(place.repo_id, repo_type=place.repo_type, revision=revision).sha
        return f"refs/tags/commit-{commit[:12]}", commit

    def _bring(self, intake: Intake, place: Place, history: dict) -> tuple[int, int]:
        """Brings the commits that are not here; returns how many, and with how many contents."""
        added: set[str] = set()
        contents = 0
        with ThreadPoolExecutor(AT_ONCE) as pool:
            for oid, (about, parent) in history.items():
                if intake.has(oid, parent):
                    continue
                if parent not in added:
                    intake.known(parent)
                files = list(self._listed(place, oid))
                missing = intake.lacks(files)
                for _ in pool.map(lambda file, oid=oid: self._content(intake, place, oid, file), missing):
                    contents += 1
                date = time_text(about.created_at.timestamp())
                author = about.authors[0] if about.authors else "unknown"
                intake.add(Commit(0, oid, "", parent, None, about.title, about.message, author, date), files)
                added.add(oid)
        return len(added), contents

    def _listed(self, place: Place, oid: str) -> Iterator[Listed]:
        from huggingface_hub import RepoFile

        tree = self.api.list_repo_tree(place.repo_id, repo_type=place.repo_type, revision=oid, recursive=True)
        for item in tree:
            if isinstance(item, RepoFile):
                yield Listed(item.path, item.blob_id, item.size, item.lfs.sha256 if item.lfs else None)

    def _content(self, intake: Intake, place: Place, oid: str, file: Listed) -> None:
        from huggingface_hub.errors import HfHubHTTPError

        try:
            if file.sha256:
                self._large(intake, place, oid, file)
            else:
                content = BytesIO()
                self._get(place, oid, file, content)
                content.seek(0)
                intake.keep(file, content)
        except HfHubHTTPError:
            raise
        except OSError as error:
            raise HFDistillError(
                f"{file.path} of {place.repo_id} did not come from {self.api.endpoint} as it is listed there "
                f"({' '.join(str(error).split())[:200]}): run the same command again"
            ) from error

    def _large(self, intake: Intake, place: Place, oid: str, file: Listed) -> None:
        partial = intake.partial(file)
        with disk_errors(), partial.open("ab") as out:
            if out.tell() > file.size:
                out.truncate(0)
            self._get(place, oid, file, out)
        try:
            with partial.open("rb") as content:
                intake.keep(file, content)
        finally:
            partial.unlink()

    def _get(self, place: Place, oid: str, file: Listed, out: BinaryIO) -> None:
        """Appends what is missing of a file."""
        from huggingface_hub import hf_hub_url
        from huggingface_hub.file_download import http_get
        from huggingface_hub.utils import build_hf_headers

        endpoint = self.api.endpoint
        url = hf_hub_url(place.repo_id, file.path, repo_type=place.repo_type, revision=oid, endpoint=endpoint)
        headers = build_hf_headers(token=self.api.token)
        http_get(url, out, resume_size=out.tell(), headers=headers, expected_size=file.size)
