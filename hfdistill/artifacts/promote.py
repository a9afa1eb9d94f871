"""Replay a run on another Hub: every commit and tag, with the links in cards and manifests pointing there."""

import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ..errors import HFDistillError
from ..progress import Progress
from .collection import title_of
from .digests import MANIFEST, hash_file
from .errors import explain, hub_errors
from .history import Commit, Contents, Repository, Run, files_at
from .push import tag_of
from .references import parse_ref


if TYPE_CHECKING:
    from huggingface_hub import HfApi

CARD = "README.md"
TRAILER = re.compile(r"Promoted-From: \S+ (\w+):(\S+)@([0-9a-f]{40})")
HEX40 = re.compile(r"\b[0-9a-f]{40}\b")
SHORT = re.compile(r"`([0-9a-f]{12})`")


@dataclass
class Replay:
    """The replay of one run.

    Args:
        run ([`~hfdistill.artifacts.history.Run`]): what to replay.
        contents ([`~hfdistill.artifacts.history.Contents`]): gives the files' contents.
        api (`HfApi`): client of the Hub to write to.
        namespace (`str`): who will own the repositories there.
        private (`bool`): make them private, whatever they were.

    Attributes:
        commits (`dict`): commit there, by type, repository and commit here.
        written (`int`): how many commits were made.
    """

    run: Run
    contents: Contents
    api: "HfApi"
    namespace: str
    private: bool = False
    commits: dict[tuple[str, str, str], str] = field(default_factory=dict)
    fingerprints: dict[str, str] = field(default_factory=dict)
    written: int = 0
    _seen: set[tuple[str, str, str]] = field(default_factory=set)

    def __call__(self) -> list[tuple[str, str]]:
        """Replay everything that is not there yet.

        Returns:
            `list[tuple[str, str]]`: type and name of every repository on the other Hub.

        Raises:
            [`~hfdistill.errors.HFDistillError`]: if the token may not write there, a repository of that name has
                another history, or what arrived is not what was sent.
        """
        heads = {self._key(repository): self._prepare(repository) for repository in self.run.repositories}
        total = sum(len(repository.commits) for repository in self.run.repositories)
        with Progress("replay", total, "commits") as progress:
            for repository in self.run.repositories:
                for commit in repository.commits:
                    self._replay(repository, commit, heads, progress)
        for repository in self.run.repositories:
            self._check(repository)
            self._tags(repository)
        self._collect()
        return [(repository.repo_type, self._new_id(repository.repo_id)) for repository in self.run.repositories]

    def _key(self, repository: Repository) -> tuple[str, str]:
        return repository.repo_type, repository.repo_id

    def _new_id(self, repo_id: str) -> str:
        return f"{self.namespace}/{repo_id.rpartition('/')[2]}" if repo_id in self._names() else repo_id

    def _names(self) -> list[str]:
        """What is called otherwise there, longest first: the repositories, and the run itself."""
        names = {repository.repo_id for repository in self.run.repositories}
        return sorted(names | {f"{self.run.namespace}/{self.run.name}"}, key=len, reverse=True)

    def _prepare(self, repository: Repository) -> str:
        """Create the repository, find what an earlier call replayed; returns its newest commit."""
        repo_type, repo_id = repository.repo_type, self._new_id(repository.repo_id)
        sdk = "gradio" if repo_type == "space" else None
        private = self.private or repository.private or None
        with hub_errors(repo_type, repo_id, self.api.endpoint):
            self.api.create_repo(repo_id, repo_type=repo_type, private=private, exist_ok=True, space_sdk=sdk)
            self.api.auth_check(repo_id, repo_type=repo_type, write=True)
            made = self.api.list_repo_commits(repo_id, repo_type=repo_type)
            known = {commit.commit_id: TRAILER.search(commit.message) for commit in made}
            for new, trailer in known.items():
                if trailer:
                    self.commits[trailer[1], trailer[2], trailer[3]] = new
            head = made[0].commit_id
            if known[head] is None and files_at(self.api, repo_type, repo_id, head):
                raise HFDistillError(
                    f"{repo_type} {repo_id!r} on {self.api.endpoint} has a history of its own, which a replay would "
                    "bury: delete or rename it, or choose another --namespace"
                )
        return head

    def _replay(self, repository: Repository, commit: Commit, heads: dict, progress: Progress) -> None:
        """Make one commit there, after the commits that it builds on."""
        key = (*self._key(repository), commit.id)
        first = key not in self._seen
        self._seen.add(key)
        if key in self.commits:
            if first:
                self._learn_fingerprint(repository, commit)
                progress.advance()
            return
        index = repository.commits.index(commit)
        before = repository.commits[index - 1] if index else None
        if before is not None and (*self._key(repository), before.id) not in self.commits:
            self._replay(repository, before, heads, progress)
        manifest = self._read_manifest(repository, commit)
        for ref in manifest.get("parents", {}).values():
            parent = self._find(ref)
            if parent is not None and (*self._key(parent[0]), parent[1].id) not in self.commits:
                self._replay(*parent, heads, progress)
        self.commits[key] = heads[self._key(repository)] = self._commit(
            repository, commit, before, manifest, heads[self._key(repository)]
        )
        progress.advance(repository=repository.name)

    def _find(self, ref: str) -> tuple[Repository, Commit] | None:
        repo_type, repo_id, revision = parse_ref(ref)
        for repository in self.run.repositories:
            if self._key(repository) == (repo_type, repo_id):
                return next(((repository, commit) for commit in repository.commits if commit.id == revision), None)
        return None

    def _commit(
        self, repository: Repository, commit: Commit, before: Commit | None, manifest: dict[str, Any], head: str
    ) -> str:
        from huggingface_hub import CommitOperationAdd, CommitOperationDelete

        repo_type, repo_id = repository.repo_type, self._new_id(repository.repo_id)
        old = before.files if before else {}
        operations: list[Any] = [CommitOperationDelete(path) for path in sorted(old.keys() - commit.files.keys())]
        for path, content in sorted(commit.files.items()):
            if path == MANIFEST and manifest:
                operations.append(CommitOperationAdd(path, self._new_manifest(manifest)))
            elif _speaks_of_others(repo_type, path):
                text = self.contents.fetch(repository, commit, path).read_text(encoding="utf-8")
                operations.append(CommitOperationAdd(path, self.rewrite(text).encode()))
            elif old.get(path) != content:
                operations.append(CommitOperationAdd(path, str(self.contents.fetch(repository, commit, path))))
        if not operations:
            return head
        origin = f"{self.run.endpoint} {repo_type}:{repository.repo_id}@{commit.id} ({commit.date})"
        with hub_errors(repo_type, repo_id, self.api.endpoint):
            made = self.api.create_commit(
                repo_id,
                operations,
                commit_message=self.rewrite(commit.title) or "commit without a title",
                commit_description=f"{self.rewrite(commit.message)}\n\nPromoted-From: {origin}".strip(),
                repo_type=repo_type,
                parent_commit=head,
            )
        self.written += 1
        return made.oid

    def _read_manifest(self, repository: Repository, commit: Commit) -> dict[str, Any]:
        if MANIFEST not in commit.files:
            return {}
        return json.loads(self.contents.fetch(repository, commit, MANIFEST).read_text(encoding="utf-8"))

    def _new_manifest(self, manifest: dict[str, Any]) -> bytes:
        """The manifest as the stage would have written it there: parents, and with them its fingerprint, differ."""
        new = json.loads(self.rewrite(json.dumps(manifest)))
        for role, ref in manifest["parents"].items():
            repo_type, repo_id, revision = parse_ref(ref)
            revision = self.commits.get((repo_type, repo_id, revision), revision)
            new["parents"][role] = f"{repo_type}:{self._new_id(repo_id)}@{revision}"
        self.fingerprints[manifest["fingerprint"]] = new["fingerprint"]
        return (json.dumps(new, indent=2, sort_keys=True) + "\n").encode()

    def _learn_fingerprint(self, repository: Repository, commit: Commit) -> None:
        """What became of the fingerprint of a commit that an earlier call replayed."""
        manifest = self._read_manifest(repository, commit)
        if manifest:
            self._new_manifest(manifest)

    def rewrite(self, text: str) -> str:
        """Names, addresses, commits and fingerprints as they are on the other Hub."""
        names = "|".join(map(re.escape, self._names()))
        # The run may have been published under another address of the same Hub than it is read from now.
        hosts = set(re.findall(rf"(https?://[^\s/()]+)/(?:datasets/|spaces/)?(?:{names})\b", text))
        for host in hosts | {self.run.endpoint}:
            text = text.replace(f"{host}/", f"{self.api.endpoint}/")
        text = re.sub(rf"(?<![\w.-])(?:{names})(?![\w-]|\.\w)", lambda match: self._new_id(match[0]), text)
        by_id = {old: new for (_, _, old), new in self.commits.items()}
        by_start = {old[:12]: new[:12] for old, new in by_id.items()}
        text = HEX40.sub(lambda match: by_id.get(match[0], match[0]), text)
        text = SHORT.sub(lambda match: f"`{by_start.get(match[1], match[1])}`", text)
        for old, new in self.fingerprints.items():
            text = text.replace(old, new)
        return text

    def _check(self, repository: Repository) -> None:
        """Compare the newest version with what it was replayed from."""
        repo_type, repo_id = repository.repo_type, self._new_id(repository.repo_id)
        last = repository.commits[-1]
        with hub_errors(repo_type, repo_id, self.api.endpoint):
            there = files_at(self.api, repo_type, repo_id, self.commits[(*self._key(repository), last.id)])
        for path in sorted(last.files.keys() | there.keys()):
            rewritten = path in there and (path == MANIFEST or _speaks_of_others(repo_type, path))
            same = there.get(path) == last.files.get(path) or rewritten
            if not same and not self._same_content(repository, last, path, there):
                raise HFDistillError(
                    f"{repo_type} {repo_id!r} on {self.api.endpoint}: {path} is not what was sent; delete the "
                    "repository there and run the same command again"
                )

    def _same_content(self, repository: Repository, commit: Commit, path: str, there: dict[str, str]) -> bool:
        """Whether a file is equal although the two Hubs keep it in different ways, one as a large file."""
        if path not in there or path not in commit.files:
            return False
        from huggingface_hub import CommitOperationAdd

        local = self.contents.fetch(repository, commit, path)
        operation = CommitOperationAdd(path, str(local))
        return there[path] in (operation.upload_info.sha256.hex(), hash_file(local)["git"])

    def _tags(self, repository: Repository) -> None:
        repo_type, repo_id = repository.repo_type, self._new_id(repository.repo_id)
        with hub_errors(repo_type, repo_id, self.api.endpoint):
            present = {tag.name for tag in self.api.list_repo_refs(repo_id, repo_type=repo_type).tags}
            for name, commit in repository.tags.items():
                old = name.removeprefix(tag_of(""))
                new = tag_of(self.fingerprints[old]) if old in self.fingerprints else name
                target = self.commits.get((*self._key(repository), commit))
                if target and new not in present:
                    self.api.create_tag(repo_id, tag=new, revision=target, repo_type=repo_type)

    def _collect(self) -> None:
        """Rebuild the run's Collection; a Hub without them is no failure."""
        if not self.run.items:
            return
        try:
            title = title_of(self.run.name)
            mine = (found.slug for found in self.api.list_collections(owner=self.namespace) if found.title == title)
            slug = next(mine, None)
            if slug is None:
                made = self.api.create_collection(
                    title, namespace=self.namespace, private=self.private, exists_ok=True
                )
                slug = made.slug
            for repo_type, repo_id, note in self.run.items:
                new_id = self._new_id(repo_id)
                self.api.add_collection_item(slug, new_id, repo_type, note=note or None, exists_ok=True)
        except Exception as error:
            reason = explain(error, self.api.endpoint)
            if reason is None:
                raise
            print(
                f"the repositories are there, but in no Collection: the Collection of run {self.run.name!r} {reason}"
            )


def _speaks_of_others(repo_type: str, path: str) -> bool:
    """Whether a file holds names and addresses of other repositories: a card, and the settings of a Space."""
    return path == CARD or (repo_type == "space" and path.endswith(".json") and path != MANIFEST)
