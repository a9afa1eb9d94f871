"""A repository's commits, as rows."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Commit:
    """A commit's row; `merged` is the second parent of a merge. One that is being made has no `oid` yet."""

    repo_id: int
    oid: str
    tree: str
    parent: str | None
    merged: str | None
    title: str
    message: str
    author: str
    created_at: str

    @property
    def parents(self) -> list[str]:
        return [oid for oid in (self.parent, self.merged) if oid]
