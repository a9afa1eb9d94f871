"""Discussions and pull requests: numbered threads of events, a pull request with a ref of its own."""

import json
import sqlite3
from dataclasses import dataclass

from .accounts import User
from .commits import Committer, Push
from .database import Database, new_id, now
from .errors import HubError, bad_request, forbidden
from .history import Commit
from .repositories import Repo, Repositories
from .trees import Change, TreeEdit, Trees, changed_files, content


MAX_TEXT = 64 * 1024
# Earlier texts of a comment that are kept, and characters that all comments of a thread may take with them: whoever
# reads a thread is sent all.
MAX_HISTORY = 10
MAX_THREAD = 8 * 1024**2


@dataclass(frozen=True)
class Discussion:
    """A thread's row; `base` is the branch that a pull request wants to change, `None` for a plain discussion."""

    repo_id: int
    num: int
    title: str
    status: str
    author: str
    created_at: str
    base: str | None
    base_oid: str | None
    merge_oid: str | None

    @property
    def ref(self) -> str:
        return f"refs/pr/{self.num}"


def check_text(value: object, what: str, limit: int = MAX_TEXT) -> str:
    if not isinstance(value, str) or not value.strip() or len(value) > limit:
        raise bad_request(f"The {what} must be a string of 1 to {limit} characters.")
    return value.strip().encode("utf-8", "replace").decode()


class Discussions:
    """Opens, changes, and merges, for users whom the door let in."""

    def __init__(self, database: Database, repositories: Repositories, committer: Committer, trees: Trees):
        self.database = database
        self.repositories = repositories
        self.committer = committer
        self.trees = trees

    def get(self, repo: Repo, num: str | int) -> Discussion:
        text = str(num)
        row = None
        if text.isascii() and text.isdigit() and len(text) < 10:
            row = self.database.row("SELECT * FROM discussions WHERE repo_id = ? AND num = ?", repo.id, int(text))
        if row is None:
            raise HubError(404, f"There is no discussion {text[:20]} in {repo.repo_id}.")
        return Discussion(*row)

    def events(self, discussion: Discussion) -> list[sqlite3.Row]:
        return self.database.rows(
            "SELECT * FROM events WHERE repo_id = ? AND num = ? ORDER BY seq", discussion.repo_id, discussion.num
        )

    def open(self, user: User, repo: Repo, title: object, description: object, pull_request: bool) -> int:
        """Starts a thread and returns its number; a pull request starts as a draft without commits."""
        title = check_text(title, "title", 200)
        with self.database.write() as write:
            num = self._insert(write, user, repo, title, "main" if pull_request else None, repo.head)
            if pull_request:
                write.execute("INSERT INTO refs VALUES (?, ?, ?)", (repo.id, f"refs/pr/{num}", repo.head))
            if isinstance(description, str) and description.strip():
                self._comment(write, user, repo, num, check_text(description, "description"))
        return num

    def open_with_commit(self, user: User, repo: Repo, revision: str, push: Push) -> tuple[int, Commit]:
        """A commit with `create_pr`: a pull request on top of `revision`, or of the announced parent."""
        base = self.repositories.resolve(repo, push.parent or revision)
        target = revision if f"refs/heads/{revision}" in self._branches(repo) else "main"
        with self.database.write() as write:
            row = write.execute(
                "SELECT COALESCE(MAX(num), 0) + 1 AS num FROM discussions WHERE repo_id = ?", (repo.id,)
            ).fetchone()
            num = self._insert(write, user, repo, push.title[:200], target, base.oid, status="open", num=row["num"])
            if push.description.strip():
                self._comment(write, user, repo, num, push.description)
            made = self.committer.apply(write, user, repo, f"refs/pr/{num}", push, start=base.oid)
            self._event(write, user, repo, num, "commit", {"subject": made.title, "oid": made.oid})
        return num, made

    def _branches(self, repo: Repo) -> set[str]:
        return {f"refs/heads/{name}" for name in self.repositories.refs(repo, "refs/heads/")}

    def _insert(self, write, user, repo, title, base, base_oid, status=None, num=None) -> int:
        if num is None:
            num = write.execute(
                "SELECT COALESCE(MAX(num), 0) + 1 AS num FROM discussions WHERE repo_id = ?", (repo.id,)
            ).fetchone()["num"]
        status = status or ("draft" if base else "open")
        values = (repo.id, num, title, status, user.name, now(), base, base_oid if base else None, None)
        write.execute("INSERT INTO discussions VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", values)
        return num

    def _event(self, write: sqlite3.Connection, user: User, repo: Repo, num: int, kind: str, data: dict) -> str:
        event_id = new_id()
        write.execute(
            "INSERT INTO events SELECT ?, COALESCE(MAX(seq), 0) + 1, ?, ?, ?, ?, ?, ? FROM events "
            "WHERE repo_id = ? AND num = ?",
            (event_id, repo.id, num, kind, user.name, now(), json.dumps(data), repo.id, num),
        )
        return event_id

    def _comment(self, write: sqlite3.Connection, user: User, repo: Repo, num: int, text: str) -> str:
        latest = {"raw": text, "updatedAt": now(), "author": {"name": user.name}}
        data = {"edited": False, "hidden": False, "latest": latest, "history": [], "numEdits": 0}
        self._check_room(write, repo, num, data)
        return self._event(write, user, repo, num, "comment", data)

    def _check_room(self, write: sqlite3.Connection, repo: Repo, num: int, data: dict) -> None:
        taken = "SELECT COALESCE(SUM(LENGTH(data)), 0) AS size FROM events WHERE repo_id = ? AND num = ?"
        if write.execute(taken, (repo.id, num)).fetchone()["size"] + len(json.dumps(data)) > MAX_THREAD:
            raise HubError(413, f"Discussion {num} is over {MAX_THREAD} characters: open another one.")

    def comment(self, user: User, repo: Repo, discussion: Discussion, text: object) -> str:
        with self.database.write() as write:
            return self._comment(write, user, repo, discussion.num, check_text(text, "comment"))

    def retitle(self, user: User, repo: Repo, discussion: Discussion, title: object) -> str:
        self._require_owner(user, repo, discussion.author)
        title = check_text(title, "title", 200)
        with self.database.write() as write:
            write.execute(
                "UPDATE discussions SET title = ? WHERE repo_id = ? AND num = ?", (title, repo.id, discussion.num)
            )
            change = {"from": discussion.title, "to": title}
            return self._event(write, user, repo, discussion.num, "title-change", change)

    def set_status(self, user: User, repo: Repo, discussion: Discussion, status: object, comment: object) -> str:
        self._require_owner(user, repo, discussion.author)
        if status not in ("open", "closed"):
            raise bad_request(f"'status' must be open or closed, got {status!r}.")
        if discussion.status == "merged":
            raise bad_request("A merged pull request can be neither closed nor opened.")
        with self.database.write() as write:
            if comment:
                self._comment(write, user, repo, discussion.num, check_text(comment, "comment"))
            return self._set_status(write, user, repo, discussion.num, status)

    def _set_status(self, write, user: User, repo: Repo, num: int, status: str, **more: str) -> str:
        write.execute("UPDATE discussions SET status = ? WHERE repo_id = ? AND num = ?", (status, repo.id, num))
        return self._event(write, user, repo, num, "status-change", {"status": status, **more})

    def edit_comment(self, user: User, repo: Repo, discussion: Discussion, event_id: str, text: str | None) -> None:
        """Replaces a comment's text; `None` hides the comment for good."""
        with self.database.write() as write:
            row = write.execute(
                "SELECT * FROM events WHERE id = ? AND repo_id = ? AND num = ? AND type = 'comment'",
                (event_id, repo.id, discussion.num),
            ).fetchone()
            if row is None:
                raise HubError(404, f"There is no comment {event_id} in this discussion.")
            self._require_owner(user, repo, row["author"])
            data = json.loads(row["data"])
            if data["hidden"]:
                raise bad_request("This comment is hidden.")
            if text is None:
                data |= {"hidden": True, "history": [], "latest": {**data["latest"], "raw": ""}}
            else:
                history = [*data["history"], data["latest"]][-MAX_HISTORY:]
                data |= {"edited": True, "numEdits": data["numEdits"] + 1, "history": history}
                data["latest"] = {
                    "raw": check_text(text, "comment"),
                    "updatedAt": now(),
                    "author": {"name": user.name},
                }
                self._check_room(write, repo, discussion.num, data)
            write.execute("UPDATE events SET data = ? WHERE id = ?", (json.dumps(data), event_id))

    def push(self, user: User, repo: Repo, ref: str, push: Push) -> Commit:
        """A further commit on a pull request."""
        discussion = self.get(repo, ref.rpartition("/")[2])
        self._require_owner(user, repo, discussion.author)
        if discussion.base is None or discussion.status not in ("open", "draft"):
            raise forbidden(f"The pull request {discussion.num} is {discussion.status}: nothing can be pushed to it.")
        with self.database.write() as write:
            made = self.committer.apply(write, user, repo, ref, push)
            self._event(write, user, repo, discussion.num, "commit", {"subject": made.title, "oid": made.oid})
        return made

    def changes(self, repo: Repo, discussion: Discussion) -> dict[str, Change]:
        """What a pull request changes, by path."""
        base = dict(self.trees.files(self.repositories.commit(repo, discussion.base_oid).tree))
        return changed_files(base, dict(self.trees.files(self.repositories.resolve(repo, discussion.ref).tree)))

    def conflicts(self, repo: Repo, discussion: Discussion) -> list[str]:
        """Paths that both the pull request and, meanwhile, its target branch have changed."""
        target = dict(self.trees.files(self._target(repo, discussion).tree))
        return [
            path
            for path, (before, after) in self.changes(repo, discussion).items()
            if content(target.get(path)) not in (content(before), content(after))
        ]

    def _target(self, repo: Repo, discussion: Discussion) -> Commit:
        return self.repositories.resolve(repo, f"refs/heads/{discussion.base}")

    def merge(self, user: User, repo: Repo, discussion: Discussion, comment: object) -> Commit:
        """Merges a pull request into its branch, file by file."""
        if discussion.base is None:
            raise bad_request("This is a discussion, not a pull request.")
        if discussion.status == "merged":
            raise bad_request("This pull request is merged already.")
        if discussion.status == "closed":
            raise bad_request("This pull request is closed: open it before merging it.")
        with self.database.write() as write:
            if conflicts := self.conflicts(repo, discussion):
                raise HubError(409, f"Both sides changed: {', '.join(conflicts[:20])}.")
            changes = self.changes(repo, discussion)
            if not changes:
                raise bad_request("This pull request changes nothing.")
            target = self._target(repo, discussion)
            head = self.repositories.resolve(repo, discussion.ref)
            edit = TreeEdit(self.trees, target.tree)
            existing = dict(self.trees.files(target.tree))
            for path, (_, after) in changes.items():
                if after is None and path in existing:
                    edit.delete(path, folder=False)
            for path, (_, after) in changes.items():
                if after is not None:
                    edit.put(path, after.kind, after.oid, after.size, after.sha256)
            title = f"{discussion.title} (#{discussion.num})"
            commit = Commit(repo.id, "", "", target.oid, head.oid, title, "", user.name, now())
            commit = self.repositories.add_commit(write, commit, edit)
            self.repositories.move_ref(write, repo, f"refs/heads/{discussion.base}", commit)
            write.execute(
                "UPDATE discussions SET merge_oid = ? WHERE repo_id = ? AND num = ?",
                (commit.oid, repo.id, discussion.num),
            )
            if comment:
                self._comment(write, user, repo, discussion.num, check_text(comment, "comment"))
            self._set_status(write, user, repo, discussion.num, "merged")
        return commit

    def _require_owner(self, user: User, repo: Repo, author: str) -> None:
        if user.name.lower() != author.lower() and not user.may_write(repo.namespace):
            raise forbidden(f"Only '{author}' and whoever may write to {repo.repo_id} can do this.")
