"""Collections: a titled list of repositories, kept in the order of their positions."""

import re
import sqlite3
from dataclasses import dataclass

from .accounts import User, check_name, require_namespace
from .database import Database, new_id, now
from .errors import HubError, bad_request
from .repositories import PREFIXES, Repositories
from .rights import visible


THEMES = ("orange", "blue", "green", "purple", "pink", "indigo")
ITEM_TYPES = (*PREFIXES, "paper", "collection")
MAX_NOTE = 500


@dataclass(frozen=True)
class Collection:
    """A collection's row."""

    id: str
    namespace: str
    title: str
    description: str | None
    private: bool
    theme: str
    position: int
    created_at: str
    updated_at: str

    @property
    def slug(self) -> str:
        words = re.sub(r"[^a-z0-9]+", "-", self.title.lower()).strip("-")[:60]
        return f"{self.namespace}/{words or 'collection'}-{self.id}"


def _title(value: object) -> str:
    if not isinstance(value, str) or not value.strip() or len(value) > 100:
        raise bad_request("The title must be a string of 1 to 100 characters.")
    return value.strip().encode("utf-8", "replace").decode()


def _text(value: object, what: str, limit: int) -> str | None:
    if value is not None and (not isinstance(value, str) or len(value) > limit):
        raise bad_request(f"The {what} must be a string of at most {limit} characters.")
    return value.encode("utf-8", "replace").decode() if value else None


def _number(value: object, what: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 10**9:
        raise bad_request(f"The {what} must be a non-negative integer.")
    return value


class Collections:
    """Creates, finds and changes collections."""

    def __init__(self, database: Database, repositories: Repositories):
        self.database = database
        self.repositories = repositories

    def get(self, user: User, slug: str, *, write: bool = False) -> Collection:
        """The collection of a slug; only the id at its end counts, since titles change."""
        namespace, _, name = slug.partition("/")
        row = self.database.row(
            "SELECT * FROM collections WHERE id = ? AND namespace = ?", name.rpartition("-")[2], namespace
        )
        if row is None or (row["private"] and not user.belongs_to(namespace)):
            raise HubError(404, f"There is no collection '{slug}'.")
        if write:
            require_namespace(user, namespace, "change a collection")
        return Collection(*row)

    def listed(
        self, user: User, owners: list[str], items: list[tuple[str, str]], limit: int, offset: int
    ) -> list[Collection]:
        """Collections that `user` may see, last changed first; if given, of one of `owners`, with one of `items`."""
        where, values = visible(user)
        clauses = [where]
        if owners:
            clauses.append(f"namespace IN ({','.join('?' * len(owners))})")
            values += owners
        if items:
            # Not even by a collection is it told that a hidden repository exists.
            known = [item for item in items if self._visible(user, *item)]
            marks = " OR ".join(["(type = ? AND item = ?)"] * len(known)) or "0"
            clauses.append(f"id IN (SELECT collection_id FROM collection_items WHERE {marks})")
            values += [value for item in known for value in item]
        rows = self.database.rows(
            f"SELECT * FROM collections WHERE {' AND '.join(clauses)} ORDER BY updated_at DESC, id LIMIT ? OFFSET ?",
            *values,
            limit,
            offset,
        )
        return [Collection(*row) for row in rows]

    def items(self, user: User, collection: Collection) -> list[sqlite3.Row]:
        """A collection's items without the repositories that `user` may not see."""
        rows = self.database.rows(
            "SELECT * FROM collection_items WHERE collection_id = ? ORDER BY position, id", collection.id
        )
        return [row for row in rows if self._visible(user, row["type"], row["item"])]

    def _visible(self, user: User, item_type: str, item: str) -> bool:
        if item_type not in PREFIXES:
            return True
        namespace, _, name = item.partition("/")
        repo = self.repositories.find(item_type, namespace, name)
        return repo is not None and self.repositories.may_see(user, repo)

    def create(self, user: User, body: dict) -> tuple[Collection, bool]:
        """Makes a collection; returns it and whether it is new, since a namespace has each title once."""
        namespace = check_name(body.get("namespace") or user.name, "namespace")
        require_namespace(user, namespace, "create a collection")
        title = _title(body.get("title"))
        description = _text(body.get("description"), "description", 150)
        with self.database.write() as write:
            row = write.execute(
                "SELECT * FROM collections WHERE namespace = ? AND title = ?", (namespace, title)
            ).fetchone()
            if row:
                return Collection(*row), False
            position = write.execute(
                "SELECT COALESCE(MAX(position), -1) + 1 AS n FROM collections WHERE namespace = ?", (namespace,)
            ).fetchone()["n"]
            private = bool(body.get("private"))
            made = Collection(
                new_id(), namespace, title, description, private, THEMES[position % 6], position, now(), now()
            )
            write.execute("INSERT INTO collections VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", tuple(vars(made).values()))
        return made, True

    def update(self, user: User, slug: str, body: dict) -> Collection:
        collection = self.get(user, slug, write=True)
        changes: dict[str, object] = {}
        if "title" in body:
            changes["title"] = _title(body["title"])
        if "description" in body:
            changes["description"] = _text(body["description"], "description", 150)
        if "private" in body:
            changes["private"] = bool(body["private"])
        if "position" in body:
            changes["position"] = _number(body["position"], "position")
        if "theme" in body:
            if body["theme"] not in THEMES:
                raise bad_request(f"Unknown theme {body['theme']!r}: {', '.join(THEMES)}.")
            changes["theme"] = body["theme"]
        changes["updated_at"] = now()
        with self.database.write() as write:
            names = ", ".join(f"{key} = ?" for key in changes)
            write.execute(f"UPDATE collections SET {names} WHERE id = ?", (*changes.values(), collection.id))
        return self.get(user, slug)

    def delete(self, user: User, slug: str) -> None:
        collection = self.get(user, slug, write=True)
        with self.database.write() as write:
            write.execute("DELETE FROM collections WHERE id = ?", (collection.id,))

    def add_item(self, user: User, slug: str, body: dict) -> Collection:
        collection = self.get(user, slug, write=True)
        item = body.get("item")
        item = item if isinstance(item, dict) else {}
        item_type, name = item.get("type"), item.get("id")
        if item_type not in ITEM_TYPES or not isinstance(name, str) or not 0 < len(name) < 300:
            raise bad_request(f"'item' needs an 'id' and one of the types {', '.join(ITEM_TYPES)}.")
        note = _text(body.get("note"), "note", MAX_NOTE)
        if item_type in PREFIXES:
            name = self.repositories.get(user, item_type, name).repo_id
        if item_type == "collection":
            name = self.get(user, name).slug
        with self.database.write() as write:
            if write.execute(
                "SELECT 1 FROM collection_items WHERE collection_id = ? AND type = ? AND item = ?",
                (collection.id, item_type, name),
            ).fetchone():
                raise HubError(409, f"The {item_type} '{name}' is already in this collection.")
            write.execute(
                "INSERT INTO collection_items SELECT ?, ?, ?, ?, ?, COALESCE(MAX(position), -1) + 1 "
                "FROM collection_items WHERE collection_id = ?",
                (new_id(), collection.id, item_type, name, note, collection.id),
            )
            write.execute("UPDATE collections SET updated_at = ? WHERE id = ?", (now(), collection.id))
        return self.get(user, slug)

    def update_item(self, user: User, slug: str, item_id: str, body: dict) -> None:
        collection = self.get(user, slug, write=True)
        with self.database.write() as write:
            rows = write.execute(
                "SELECT id FROM collection_items WHERE collection_id = ? ORDER BY position, id", (collection.id,)
            ).fetchall()
            order = [row["id"] for row in rows]
            if item_id not in order:
                raise HubError(404, f"There is no item '{item_id}' in this collection.")
            if "note" in body:
                note = _text(body["note"], "note", MAX_NOTE)
                write.execute("UPDATE collection_items SET note = ? WHERE id = ?", (note, item_id))
            if "position" in body:
                order.remove(item_id)
                order.insert(_number(body["position"], "position"), item_id)
                write.executemany("UPDATE collection_items SET position = ? WHERE id = ?", enumerate(order))

    def delete_item(self, user: User, slug: str, item_id: str) -> None:
        collection = self.get(user, slug, write=True)
        with self.database.write() as write:
            found = write.execute(
                "DELETE FROM collection_items WHERE collection_id = ? AND id = ?", (collection.id, item_id)
            ).rowcount
        if not found:
            raise HubError(404, f"There is no item '{item_id}' in this collection.")
