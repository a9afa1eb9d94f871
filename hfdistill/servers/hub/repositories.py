"""Repositories, their refs and their history."""

import json
import re
import sqlite3
from dataclasses import dataclass, replace

from .accounts import User, check_name, require_namespace
from .blobs import BlobStore
from .cards import tags_of
from .database import Database, now
from .errors import HubError, bad_request, forbidden, repo_not_found, revision_not_found
from .git_names import GitNames
from .history import Commit
from .metadata import Metadata
from .rights import Right, check_repo
from .trees import EMPTY_TREE, TreeEdit, Trees


MAIN = "refs/heads/main"
HEX = re.compile(r"[0-9a-f]{7,40}")
PREFIXES = {"model": "", "dataset": "datasets/", "space": "spaces/"}
# git's own rules for the names of refs, as far as they matter here.
BAD_REF = re.compile(r"[\x00-\x20~^:?*\[\\\x7f]|\.\.|//|@\{|^[/.-]|[/.]$|/\.|\.lock(/|$)")
COPY_HISTORY = (
    "INSERT INTO refs SELECT :target, name, oid FROM refs WHERE repo_id = :source AND name NOT LIKE 'refs/pr/%'",
    "INSERT INTO tag_messages SELECT :target, name, message, author, created_at FROM tag_messages "
    "WHERE repo_id = :source",
    "WITH RECURSIVE kept (oid) AS (SELECT oid FROM refs WHERE repo_id = :target "
    "UNION SELECT parent FROM kept JOIN commits ON repo_id = :source AND commits.oid = kept.oid "
    "UNION SELECT merged FROM kept JOIN commits ON repo_id = :source AND commits.oid = kept.oid) "
    "INSERT INTO commits SELECT :target, oid, tree, parent, merged, title, message, author, created_at FROM commits "
    "WHERE repo_id = :source AND oid IN (SELECT oid FROM kept)",
    "INSERT INTO git_commits SELECT :target, oid, git FROM git_commits WHERE repo_id = :source "
    "AND oid IN (SELECT oid FROM commits WHERE repo_id = :target)",
    "INSERT INTO large_files SELECT :target, sha256, size, path, ref, :now FROM large_files WHERE repo_id = :source",
)


@dataclass(frozen=True)
class Repo:
    """A repository's row."""

    id: int
    type: str
    namespace: str
    name: str
    private: bool
    gated: str | None
    disabled: bool
    sdk: str | None
    created_at: str
    updated_at: str
    head: str
    card_json: str
    details_json: str

    @classmethod
    def of(cls, row: sqlite3.Row) -> "Repo":
        values = {**row, "private": bool(row["private"]), "disabled": bool(row["disabled"])}
        return cls(card_json=values.pop("card"), details_json=values.pop("details"), **values)

    # Read when they are asked for, and not kept: a listing would hold those of all its repositories at once.
    @property
    def card(self) -> dict:
        return json.loads(self.card_json)

    @property
    def details(self) -> dict:
        return json.loads(self.details_json)

    @property
    def repo_id(self) -> str:
        return f"{self.namespace}/{self.name}"

    @property
    def url_path(self) -> str:
        return PREFIXES[self.type] + self.repo_id


def is_repo_type(value: object) -> bool:
    """Whether it names a type of repository; a body may have anything there, also what no dict looks up."""
    return isinstance(value, str) and value in PREFIXES


def check_ref(name: object, what: str) -> str:
    if not isinstance(name, str) or not name or len(name.encode("utf-8", "replace")) > 200 or BAD_REF.search(name):
        raise bad_request(f"Invalid {what} name {name!r}.")
    if name.startswith("refs/") or re.fullmatch(r"[0-9a-f]{40}", name):
        raise bad_request(f"Invalid {what} name '{name}': it reads as a ref or a commit.")
    return name


class Repositories:
    """Creates, finds and changes repositories."""

    def __init__(self, database: Database, blobs: BlobStore, trees: Trees, metadata: Metadata):
        self.database = database
        self.blobs = blobs
        self.metadata = metadata
        self.trees = trees
        self.git_names = GitNames(database, blobs, trees)

    def find(self, repo_type: str, namespace: str, name: str) -> Repo | None:
        row = self.database.row(
            "SELECT * FROM repos WHERE type = ? AND namespace = ? AND name = ?", repo_type, namespace, name
        )
        if row is None:
            row = self.database.row(
                "SELECT repos.* FROM redirects JOIN repos ON repos.id = redirects.repo_id "
                "WHERE redirects.type = ? AND redirects.namespace = ? AND redirects.name = ?",
                repo_type,
                namespace,
                name,
            )
        return Repo.of(row) if row else None

    def get(self, user: User, repo_type: str, repo_id: str, right: Right = Right.METADATA) -> Repo:
        """The repository, for a user who has `right` over it.

        Raises:
            [`HubError`]: 404 (401 for strangers) where it is missing or hidden, 403 where the right is missing.
        """
        namespace, _, name = repo_id.partition("/")
        repo = self.find(repo_type, namespace, name)
        if repo is None or not self.may_see(user, repo):
            raise repo_not_found(repo_id, user.anonymous)
        if repo.disabled and user.role != "admin":
            # These words are how clients know it.
            raise forbidden("Access to this resource is disabled.")
        self.require(user, repo, right)
        return repo

    def require(self, user: User, repo: Repo, right: Right) -> None:
        """Refuses a user who sees a repository but has not `right` over it."""
        check_repo(user, right, repo, self.has_access(user, repo))

    def may_see(self, user: User, repo: Repo) -> bool:
        return not repo.private or user.belongs_to(repo.namespace)

    def has_access(self, user: User, repo: Repo) -> bool:
        """Whether `user`, who may see the repository, may read its files: the gate is open, or there is none."""
        if repo.disabled and user.role != "admin":
            return False
        if not repo.gated or user.belongs_to(repo.namespace):
            return True
        row = self.database.row("SELECT status FROM access WHERE repo_id = ? AND user_id = ?", repo.id, user.id)
        return row is not None and row["status"] == "accepted"

    def create(
        self,
        user: User,
        repo_type: str,
        namespace: str,
        name: str,
        private: bool,
        sdk: str | None,
        source: Repo | None = None,
    ) -> tuple[Repo, bool]:
        """Makes a repository with an empty first commit, or with branches, tags and gate of `source`; returns it and
        whether it is new.
        """
        check_name(namespace, "namespace")
        check_name(name, "repository name")
        require_namespace(user, namespace, f"create a {repo_type}")
        created = now()
        with self.database.write() as write:
            existing = self.find(repo_type, namespace, name)
            if existing is not None and existing.name.lower() == name.lower():
                return existing, False
            write.execute(
                "DELETE FROM redirects WHERE type = ? AND namespace = ? AND name = ?", (repo_type, namespace, name)
            )
            repo_row = write.execute(
                "INSERT INTO repos (type, namespace, name, private, gated, sdk, created_at, updated_at, head) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) RETURNING *",
                (repo_type, namespace, name, private, source and source.gated, sdk, created, created, ""),
            ).fetchone()
            repo = Repo.of(repo_row)
            if source:
                self._copy_history(write, source, repo)
                head = self.resolve(repo, MAIN)
            else:
                write.execute("INSERT OR IGNORE INTO trees VALUES (?, ?)", EMPTY_TREE)
                first = Commit(repo.id, "", EMPTY_TREE[0], None, None, "initial commit", "", user.name, created)
                head = self.add_commit(write, first)
            self.move_ref(write, repo, MAIN, head)
        return replace(repo, head=head.oid), True

    def _copy_history(self, write: sqlite3.Connection, source: Repo, target: Repo) -> None:
        """All that the branches and tags of one repository lead to, under the same ids in another."""
        values = {"source": source.id, "target": target.id, "now": now()}
        for statement in COPY_HISTORY:
            write.execute(statement, values)

    def disable(self, repo_type: str, repo_id: str, disabled: bool) -> None:
        """Takes a repository from everybody but administrators, or gives it back.

        Raises:
            [`HubError`]: 404, there is none.
        """
        with self.database.write() as write:
            found = write.execute(
                "UPDATE repos SET disabled = ? WHERE type = ? AND namespace || '/' || name = ? COLLATE NOCASE",
                (disabled, repo_type, repo_id),
            ).rowcount
        if not found:
            raise repo_not_found(repo_id)

    def delete(self, user: User, repo_type: str, repo_id: str) -> None:
        repo = self.get(user, repo_type, repo_id, Right.WRITE)
        with self.database.write() as write:
            write.execute("DELETE FROM repos WHERE id = ?", (repo.id,))
            write.execute("DELETE FROM collection_items WHERE type = ? AND item = ?", (repo.type, repo.repo_id))

    def move(self, user: User, repo_type: str, source: str, target: str) -> Repo:
        """Renames a repository; its old name leads to it until somebody takes that name."""
        repo = self.get(user, repo_type, source, Right.WRITE)
        namespace, _, name = target.partition("/")
        check_name(namespace, "namespace")
        check_name(name, "repository name")
        require_namespace(user, namespace, f"move a {repo_type}")
        with self.database.write() as write:
            taken = write.execute(
                "SELECT id FROM repos WHERE type = ? AND namespace = ? AND name = ?", (repo_type, namespace, name)
            ).fetchone()
            if taken and taken["id"] != repo.id:
                raise HubError(409, f"A {repo_type} named '{target}' already exists.")
            write.execute(
                "DELETE FROM redirects WHERE type = ? AND namespace = ? AND name = ?", (repo_type, namespace, name)
            )
            if (namespace.lower(), name.lower()) != (repo.namespace.lower(), repo.name.lower()):
                write.execute(
                    "INSERT OR REPLACE INTO redirects VALUES (?, ?, ?, ?)",
                    (repo_type, repo.namespace, repo.name, repo.id),
                )
            write.execute("UPDATE repos SET namespace = ?, name = ? WHERE id = ?", (namespace, name, repo.id))
            write.execute(
                "UPDATE collection_items SET item = ? WHERE type = ? AND item = ?",
                (f"{namespace}/{name}", repo.type, repo.repo_id),
            )
        return self.find(repo_type, namespace, name)

    def resolve(self, repo: Repo, revision: str) -> Commit:
        """The commit that a branch, tag, ref, full or abbreviated commit id stands for.

        Raises:
            [`HubError`]: 404, there is none.
        """
        names = [revision] if revision.startswith("refs/") else [f"refs/heads/{revision}", f"refs/tags/{revision}"]
        for name in names:
            row = self.database.row("SELECT oid FROM refs WHERE repo_id = ? AND name = ?", repo.id, name)
            if row:
                return self.commit(repo, row["oid"])
        if HEX.fullmatch(revision):
            rows = self.database.rows(
                "SELECT * FROM commits WHERE repo_id = ? AND oid >= ? AND oid < ? LIMIT 2",
                repo.id,
                revision,
                revision + "g",
            )
            if len(rows) == 1:
                return Commit(*rows[0])
        raise revision_not_found(revision)

    def find_commit(self, repo: Repo, oid: str) -> Commit | None:
        row = self.database.row("SELECT * FROM commits WHERE repo_id = ? AND oid = ?", repo.id, oid)
        return Commit(*row) if row else None

    def commit(self, repo: Repo, oid: str) -> Commit:
        commit = self.find_commit(repo, oid)
        if commit is None:
            raise revision_not_found(oid)
        return commit

    def history(self, repo: Repo, start: str, limit: int) -> list[Commit]:
        """`limit` commits from `start` on, newest first, along the first parent."""
        commits: list[Commit] = []
        oid: str | None = start
        while oid is not None and len(commits) < limit:
            commit = self.commit(repo, oid)
            commits.append(commit)
            oid = commit.parent
        return commits

    def refs(self, repo: Repo, prefix: str) -> dict[str, str]:
        """Names without `prefix`, and commits."""
        rows = self.database.rows(
            "SELECT name, oid FROM refs WHERE repo_id = ? AND name >= ? AND name < ? ORDER BY name",
            repo.id,
            prefix,
            prefix + "\U0010ffff",
        )
        return {row["name"].removeprefix(prefix): row["oid"] for row in rows}

    def create_ref(self, repo: Repo, name: str, oid: str, message: str = "", author: str = "") -> None:
        """Makes a branch, or a tag with what its author says of it."""
        with self.database.write() as write:
            existing = write.execute("SELECT oid FROM refs WHERE repo_id = ? AND name = ?", (repo.id, name)).fetchone()
            if existing:
                kind, short = name.split("/", 2)[1:]
                what = "Tag" if kind == "tags" else "Reference"
                raise HubError(409, f"{what} already exists: '{short}' is at {existing['oid']}.")
            write.execute("INSERT INTO refs VALUES (?, ?, ?)", (repo.id, name, oid))
            if message:
                write.execute(
                    "INSERT INTO tag_messages VALUES (?, ?, ?, ?, ?)", (repo.id, name, message, author, now())
                )

    def delete_ref(self, repo: Repo, name: str) -> None:
        if name == MAIN:
            raise forbidden("The branch 'main' cannot be deleted.")
        with self.database.write() as write:
            found = write.execute("DELETE FROM refs WHERE repo_id = ? AND name = ?", (repo.id, name)).rowcount
        if not found:
            raise revision_not_found(name.split("/", 2)[-1])

    def add_commit(self, write: sqlite3.Connection, commit: Commit, edit: TreeEdit | None = None) -> Commit:
        """Stores a commit that is being made, and the tree that it makes of its parent's by `edit`.

        Returns:
            `Commit`: with its id. The same change of the same parent by the same user in the same second is, as in
            git, the same commit.
        """
        git_tree = self.git_names.edited(write, edit.root) if edit else self.git_names.tree(write, commit.tree)
        commit = self.git_names.new_commit(write, commit, git_tree)
        if edit:
            commit = replace(commit, tree=edit.save(write, commit.oid))
        self.insert_commit(write, commit)
        return commit

    def insert_commit(self, write: sqlite3.Connection, commit: Commit) -> None:
        values = tuple(vars(commit).values())
        write.execute("INSERT OR IGNORE INTO commits VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", values)

    def move_ref(self, write: sqlite3.Connection, repo: Repo, ref: str, commit: Commit) -> None:
        """Lets a ref point at a new commit, and brings up to date what listings show of `main`."""
        write.execute("INSERT OR REPLACE INTO refs VALUES (?, ?, ?)", (repo.id, ref, commit.oid))
        if ref == MAIN:
            write.execute(
                "UPDATE repos SET head = ?, updated_at = ? WHERE id = ?", (commit.oid, commit.created_at, repo.id)
            )
            self.index(write, commit.author, repo.id, repo.type, repo.sdk, commit.tree)

    def index(
        self, write: sqlite3.Connection, user: str, repo_row: int, repo_type: str, sdk: str | None, tree: str
    ) -> None:
        """Derives a repository's metadata, details and tags from its files."""
        root = self.trees.load(tree)
        found = self.metadata.of_tree(user, root)
        card, config = found.get("README.md", {}), found.get("config.json", {})
        details = {"storage": sum(entry.size for entry in root.values()), "config": config}
        paths = [path for path, _ in self.trees.files(tree)]
        tags = tags_of(repo_type, {**({"sdk": sdk} if sdk else {}), **card}, paths, config)
        write.execute(
            "UPDATE repos SET card = ?, details = ? WHERE id = ?", (json.dumps(card), json.dumps(details), repo_row)
        )
        write.execute("DELETE FROM tags WHERE repo_id = ?", (repo_row,))
        write.executemany("INSERT OR IGNORE INTO tags VALUES (?, ?)", ((tag, repo_row) for tag in tags))
