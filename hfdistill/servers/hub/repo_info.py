"""What the Hub says of a repository, to whoever asks for it or lists it."""

from .errors import absent
from .repositories import Repo
from .routing import Call
from .trees import LARGE, Entry


# What may be asked for by name (`expand`), by type of repository.
COMMON = ("author", "cardData", "createdAt", "disabled", "gated", "lastModified", "private", "sha", "siblings", "tags",
          "usedStorage")  # fmt: skip
EXPANDABLE = {
    "model": (*COMMON, "config", "library_name", "model-index", "modelId", "pipeline_tag"),
    "dataset": (*COMMON, "description"),
    "space": (*COMMON, "sdk", "models", "datasets"),
}


def expanded(call: Call) -> list[str]:
    """The names that a request asks for; none: what is usual.

    Raises:
        [`HubError`]: 501, this Hub does not know one of them.
    """
    names = call.queries("expand")
    for name in names:
        if name not in EXPANDABLE[call.repo_type]:
            known = ", ".join(EXPANDABLE[call.repo_type])
            raise absent(f"does not know '{name[:100]}' of a {call.repo_type}; expand takes {known}")
    return names


def info_of(call: Call, repo: Repo, tags: list[str], files_of: str | None, full: bool) -> dict:
    """What is said of a repository: with a tree's files where one is given, with its card's metadata if `full`."""
    info = {
        "_id": f"{repo.id:024x}",
        "id": repo.repo_id,
        "author": repo.namespace,
        "sha": repo.head,
        "private": repo.private,
        "gated": repo.gated or False,
        "disabled": repo.disabled,
        "createdAt": repo.created_at,
        "lastModified": repo.updated_at,
        "tags": tags,
    }
    if repo.type == "model":
        info["modelId"] = repo.repo_id
        info.update({key: repo.card[key] for key in ("library_name", "pipeline_tag") if key in repo.card})
    if repo.type == "dataset":
        info["description"] = str(repo.card.get("pretty_name") or "")
    if repo.type == "space":
        info["sdk"] = repo.card.get("sdk") or repo.sdk
    if full:
        info |= _from_card(repo)
    if files_of is not None:
        blobs = call.flag("blobs")
        info["siblings"] = [_sibling(path, entry, blobs) for path, entry in call.hub.trees.files(files_of)]
    return info


def _from_card(repo: Repo) -> dict:
    more = {"cardData": repo.card, "usedStorage": repo.details.get("storage", 0)}
    if repo.type == "model":
        more["config"] = repo.details.get("config", {})
        if "model-index" in repo.card:
            more["model-index"] = repo.card["model-index"]
    if repo.type == "space":
        for key in ("models", "datasets"):
            names = repo.card.get(key)
            more[key] = [name for name in (names if isinstance(names, list) else [names]) if isinstance(name, str)]
    return more


def _sibling(path: str, entry: Entry, blobs: bool) -> dict:
    info: dict = {"rfilename": path}
    if blobs:
        info.update(size=entry.size, blobId=entry.oid)
        if entry.kind == LARGE:
            info["lfs"] = {"sha256": entry.sha256, "size": entry.size, "pointerSize": len(entry.pointer)}
    return info


def tags_of_repos(call: Call, repo_ids: list[int]) -> dict[int, list[str]]:
    tags: dict[int, list[str]] = {repo_id: [] for repo_id in repo_ids}
    marks = ",".join("?" * len(repo_ids))
    for row in call.hub.database.rows(f"SELECT repo_id, tag FROM tags WHERE repo_id IN ({marks})", *repo_ids):
        tags[row["repo_id"]].append(row["tag"])
    return tags
