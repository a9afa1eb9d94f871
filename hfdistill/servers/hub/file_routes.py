"""Routes on what a repository holds: trees, paths, commits, branches, tags."""

import posixpath
from functools import partial
from urllib.parse import quote

from .blobs import check_sha256
from .contents import Blob
from .errors import HubError, absent, bad_request, entry_not_found
from .readers import ReadingError
from .repositories import Commit, Repo, check_ref
from .rights import Right
from .routing import Call, Response, Routes, json_response
from .trees import FOLDER, LARGE, Entry, check_path


routes = Routes()

PAGE = 1000
COMMITS_PAGE = 50
MAX_MESSAGE = 10_000


def describe(call: Call, repo: Repo, path: str, entry: Entry, expand: bool, commits: dict[str, Commit | None]) -> dict:
    if entry.kind == FOLDER:
        info = {"type": "directory", "oid": entry.oid, "size": 0, "path": path}
    else:
        info = {"type": "file", "oid": entry.oid, "size": entry.size, "path": path}
        if entry.kind == LARGE:
            info["lfs"] = {"oid": entry.sha256, "size": entry.size, "pointerSize": len(entry.pointer)}
    if expand:
        if entry.commit not in commits:
            commits[entry.commit] = call.hub.repositories.find_commit(repo, entry.commit)
        # A squash may have taken that commit away.
        if last := commits[entry.commit]:
            info["lastCommit"] = {"id": last.oid, "title": last.title, "date": last.created_at}
        info["securityFileStatus"] = None
    return info


@routes("GET", "/api/{type}/{repo}/tree/{rev}", Right.METADATA)
def tree(call: Call) -> Response:
    return _tree(call, "")


@routes("GET", "/api/{type}/{repo}/tree/{rev}/{path}", Right.METADATA)
def tree_below(call: Call) -> Response:
    return _tree(call, call.params["path"].strip("/"))


def _tree(call: Call, path: str) -> Response:
    hub = call.hub
    repo = call.repo
    commit = hub.repositories.resolve(repo, call.params["rev"])
    root = commit.tree
    if path:
        check_path(path)
        entry = hub.trees.find(root, path)
        if entry is None or entry.kind != FOLDER:
            raise entry_not_found(path)
        root = entry.oid
    limit = call.number("limit", PAGE, 1, PAGE)
    start = call.number("cursor", 0, 0, 10**9)
    prefix = f"{path}/" if path else ""
    page: list[dict] = []
    headers = {"X-Repo-Commit": commit.oid}
    commits: dict[str, Commit | None] = {}
    for position, (name, entry) in enumerate(hub.trees.walk(root, prefix, recursive=call.flag("recursive"))):
        if position < start:
            continue
        if len(page) == limit:
            # A walk of one tree is always the same, so a position is a cursor; the next page asks by commit, since the
            # branch may have moved by then.
            below = f"/{quote(path, safe='')}" if path else ""
            target = f"/api/{call.params['type']}/{repo.repo_id}/tree/{commit.oid}{below}"
            headers |= call.next_link(target, cursor=str(position))
            break
        page.append(describe(call, repo, name, entry, call.flag("expand"), commits))
    return json_response(page, headers=headers)


@routes("POST", "/api/{type}/{repo}/paths-info/{rev}", Right.METADATA)
def paths_info(call: Call) -> Response:
    hub = call.hub
    repo = call.repo
    commit = hub.repositories.resolve(repo, call.params["rev"])
    if call.request.headers.get("content-type", "").startswith("application/json"):
        body = call.json()
        paths, expand = body.get("paths", []), bool(body.get("expand"))
        paths = [paths] if isinstance(paths, str) else paths
        if not isinstance(paths, list) or not all(isinstance(path, str) for path in paths):
            raise bad_request("'paths' must be a list of strings.")
    else:
        form = call.form()
        paths = form.get("paths", [])
        expand = form.get("expand", [""])[-1].lower() in ("true", "1")
    commits: dict[str, Commit | None] = {}
    found, loaded = [], {}
    for path in paths:
        entry = hub.trees.find(commit.tree, path.strip("/"), loaded)
        if entry is not None:
            info = describe(call, repo, path.strip("/"), entry, expand, commits)
            if entry.kind == LARGE and not expand:
                # Clients copy a file between repositories only if it has one. No Xet hash, and in no other answer:
                # they would download by Xet.
                info["xetHash"] = f"sha256:{entry.sha256}"
            found.append(info)
    return json_response(found)


@routes("GET", "/api/{type}/{repo}/refs", Right.METADATA)
def refs(call: Call) -> Response:
    repo = call.repo

    def listed(prefix: str) -> list[dict]:
        found = call.hub.repositories.refs(repo, prefix)
        return [{"name": name, "ref": prefix + name, "targetCommit": oid} for name, oid in found.items()]

    answer = {"branches": listed("refs/heads/"), "tags": listed("refs/tags/"), "converts": []}
    if call.flag("include_prs"):
        answer["pullRequests"] = listed("refs/pr/")
    return json_response(answer)


@routes("GET", "/api/{type}/{repo}/commits/{rev}", Right.METADATA)
def commits(call: Call) -> Response:
    hub = call.hub
    repo = call.repo
    commit = hub.repositories.resolve(repo, call.query("cursor") or call.params["rev"])
    limit = call.number("limit", COMMITS_PAGE, 1, PAGE)
    history = hub.repositories.history(repo, commit.oid, limit + 1)
    formatted = "formatted" in call.queries("expand")
    page = []
    for item in history[:limit]:
        described = {
            "id": item.oid,
            "title": item.title,
            "message": item.message,
            "date": item.created_at,
            "authors": [{"user": item.author, "avatar": ""}],
        }
        if formatted:
            described["formatted"] = {"title": item.title, "message": item.message}
        page.append(described)
    headers = call.next_link(cursor=history[limit].oid) if len(history) > limit else None
    return json_response(page, headers=headers)


@routes("POST", "/api/{type}/{repo}/branch/{branch}", Right.WRITE)
def create_branch(call: Call) -> Response:
    repo = call.repo
    name = check_ref(call.params["branch"], "branch")
    start = call.json().get("startingPoint") or "main"
    if not isinstance(start, str):
        raise bad_request("'startingPoint' must be a revision.")
    commit = call.hub.repositories.resolve(repo, start)
    call.hub.repositories.create_ref(repo, f"refs/heads/{name}", commit.oid)
    return json_response({})


@routes("DELETE", "/api/{type}/{repo}/branch/{branch}", Right.WRITE)
def delete_branch(call: Call) -> Response:
    repo = call.repo
    call.hub.repositories.delete_ref(repo, f"refs/heads/{call.params['branch']}")
    return json_response({})


@routes("POST", "/api/{type}/{repo}/tag/{rev}", Right.WRITE)
def create_tag(call: Call) -> Response:
    repo = call.repo
    body = call.json()
    name, message = check_ref(body.get("tag"), "tag"), body.get("message") or ""
    if not isinstance(message, str) or len(message) > MAX_MESSAGE:
        raise bad_request(f"A tag's message must be a string of at most {MAX_MESSAGE} characters.")
    message = message.encode("utf-8", "replace").decode().strip()
    commit = call.hub.repositories.resolve(repo, call.params["rev"])
    call.hub.repositories.create_ref(repo, f"refs/tags/{name}", commit.oid, message, call.user.name)
    return json_response({})


@routes("DELETE", "/api/{type}/{repo}/tag/{tag}", Right.WRITE)
def delete_tag(call: Call) -> Response:
    repo = call.repo
    call.hub.repositories.delete_ref(repo, f"refs/tags/{call.params['tag']}")
    return json_response({})


@routes("POST", "/api/{type}/{repo}/super-squash/{rev}", Right.WRITE)
def super_squash(call: Call) -> Response:
    repo = call.repo
    message = call.json().get("message")
    if not isinstance(message, str) or not message.strip():
        raise HubError(400, "A squash needs a message.")
    call.hub.committer.squash(call.user, repo, f"refs/heads/{call.params['rev']}", message)
    return json_response({})


@routes("GET", "/api/{type}/{repo}/safetensors-metadata/{path}", Right.CONTENT, patient=True)
def safetensors_metadata(call: Call) -> Response:
    """The headers of all files of weights that an index names."""
    path = call.params["path"]
    tree = call.hub.repositories.resolve(call.repo, "main").tree
    read = partial(call.hub.page_readers.read, call.caller)
    try:
        index = read("shards", _content(call, tree, path))
        files = {name: _content(call, tree, posixpath.join(posixpath.dirname(path), name)) for name in index["files"]}
        headers = read("headers", files)
    except ReadingError as error:
        raise HubError(422, f"'{path}' is of no use: {error}. get_safetensors_metadata reads file by file.") from error
    return json_response({"index": {"metadata": index["metadata"]}, "headers": headers})


def _content(call: Call, tree: str, path: str) -> Blob:
    check_path(path)
    entry = call.hub.trees.find(tree, path)
    blob = call.hub.blobs.find(entry.sha256) if entry and entry.kind != FOLDER else None
    if blob is None:
        raise entry_not_found(path)
    return blob


@routes("GET", "/api/{type}/{repo}/lfs-files", Right.WRITE)
def lfs_files(call: Call) -> Response:
    limit = call.number("limit", PAGE, 1, PAGE)
    offset = call.number("cursor", 0, 0, 10**9)
    rows = call.hub.large_files.listed(call.repo, limit + 1, offset)
    found = [
        {
            "fileOid": row["sha256"],
            "oid": row["sha256"],
            "filename": row["path"],
            "pushedAt": row["created_at"],
            "ref": row["ref"],
            "size": row["size"],
        }
        for row in rows[:limit]
    ]
    headers = call.next_link(cursor=str(offset + limit)) if len(rows) > limit else None
    return json_response(found, headers=headers)


@routes("POST", "/api/{type}/{repo}/lfs-files/batch", Right.WRITE)
def delete_lfs_files(call: Call) -> Response:
    deletions = call.json().get("deletions")
    names = deletions.get("sha") if isinstance(deletions, dict) else None
    if not isinstance(names, list) or not 0 < len(names) <= PAGE:
        raise bad_request(f"'deletions' needs a list 'sha' of 1 to {PAGE} names.")
    if not deletions.get("rewriteHistory", True):
        raise absent("takes large files out of all commits or of none: leave rewrite_history as it is")
    call.hub.large_files.delete(call.repo, {check_sha256(name) for name in names})
    return json_response({})
