"""Routes on whole repositories: create, delete, move, settings, info, listing, who am I."""

import base64
import json

from .accounts import LOCAL_USER
from .errors import HubError, bad_request
from .readers import ReadingError
from .repositories import PREFIXES, Commit, Repo
from .rights import Right, visible
from .routing import Call, Response, Routes, json_response
from .trees import LARGE, Entry


routes = Routes()

SDKS = ("gradio", "streamlit", "docker", "static")
PAGE = 1000
SORTS = {"lastModified": "updated_at", "last_modified": "updated_at", "createdAt": "created_at"}


@routes("GET", "/api/whoami-v2", Right.OPEN)
def whoami(call: Call) -> Response:
    user = call.user
    if user.anonymous:
        raise HubError(401, "Invalid username or password.")
    orgs = [{"type": "org", "name": name, "fullname": name, "roleInOrg": role} for name, role in user.orgs.items()]
    role = "read" if user.role == "read" else "write"
    token = {"displayName": user.token_name or LOCAL_USER, "role": role}
    return json_response(
        {
            "type": "user",
            "id": str(user.id or 0),
            "name": user.name,
            "fullname": user.name,
            "email": None,
            "canPay": False,
            "isPro": False,
            "orgs": orgs,
            "auth": {"type": "access_token", "accessToken": token},
        }
    )


def repo_type_of(body: dict) -> str:
    repo_type = body.get("type") or "model"
    if repo_type not in PREFIXES:
        raise bad_request(f"Unknown repository type {repo_type!r}: model, dataset or space.")
    return repo_type


def is_private(body: dict) -> bool | None:
    visibility = body.get("visibility")
    if visibility is None:
        private = body.get("private")
        if private is not None and not isinstance(private, bool):
            raise bad_request("'private' must be true or false.")
        return private
    if visibility not in ("public", "private", "protected"):
        raise bad_request(f"Unknown visibility {visibility!r}: public or private.")
    return visibility != "public"


@routes("POST", "/api/repos/create", Right.ACT)
def create(call: Call) -> Response:
    body = call.json()
    repo_type = repo_type_of(body)
    sdk = body.get("sdk")
    if repo_type == "space" and sdk not in SDKS:
        raise bad_request(f"Unknown sdk {sdk!r} of the Space: {', '.join(SDKS)}.")
    namespace = body.get("organization") or call.user.name
    repo, new = call.hub.repositories.create(
        call.user,
        repo_type,
        namespace,
        body.get("name"),
        bool(is_private(body)),
        sdk if repo_type == "space" else None,
    )
    answer = {"url": f"{call.base_url}/{repo.url_path}", "name": repo.repo_id, "id": str(repo.id)}
    if not new:
        raise HubError(409, f"You already created this {repo_type} repo: {repo.repo_id}.", body=answer)
    return json_response(answer)


@routes("DELETE", "/api/repos/delete", Right.ACT)
def delete(call: Call) -> Response:
    body = call.json()
    namespace = body.get("organization") or call.user.name
    call.hub.repositories.delete(call.user, repo_type_of(body), f"{namespace}/{body.get('name')}")
    return json_response({})


@routes("POST", "/api/repos/move", Right.ACT)
def move(call: Call) -> Response:
    body = call.json()
    source, target = body.get("fromRepo"), body.get("toRepo")
    for name in (source, target):
        if not isinstance(name, str) or name.count("/") != 1:
            raise bad_request(f"{name!r} is not 'namespace/name'.")
    repo = call.hub.repositories.move(call.user, repo_type_of(body), source, target)
    return json_response({"url": f"{call.base_url}/{repo.url_path}"})


@routes("POST", "/api/{type}/{repo}/duplicate", Right.CONTENT)
def duplicate(call: Call) -> Response:
    """Makes a new repository with the files, not the history, of one that the user can read."""
    hub = call.hub
    source = call.repo
    body = call.json()
    target = body.get("repository")
    if not isinstance(target, str) or target.count("/") != 1:
        raise bad_request(f"'repository' must be 'namespace/name', got {target!r}.")
    private = is_private(body)
    private = source.private if private is None else private
    repo, new = hub.repositories.create(call.user, source.type, *target.split("/"), private, source.sdk)
    answer = {"url": f"{call.base_url}/{repo.url_path}"}
    if not new:
        raise HubError(409, f"You already created this {repo.type} repo: {repo.repo_id}.", body=answer)
    hub.committer.copy(call.user, source, repo)
    return json_response(answer)


@routes("PUT", "/api/{type}/{repo}/settings", Right.WRITE)
def settings(call: Call) -> Response:
    repo = call.repo
    body = call.json()
    private = is_private(body)
    gated = body.get("gated", repo.gated or False)
    if gated not in ("auto", "manual", False):
        raise bad_request(f"'gated' must be 'auto', 'manual' or false, got {gated!r}.")
    with call.hub.database.write() as write:
        write.execute(
            "UPDATE repos SET private = ?, gated = ? WHERE id = ?",
            (repo.private if private is None else private, gated or None, repo.id),
        )
    return json_response({"private": repo.private if private is None else private, "gated": gated})


@routes("GET", "/api/{type}/{repo}/auth-check", Right.CONTENT)
def auth_check(call: Call) -> Response:
    return json_response({})


@routes("GET", "/api/{type}/{repo}/auth-check/write", Right.WRITE)
def auth_check_write(call: Call) -> Response:
    return json_response({})


def summary(call: Call, repo: Repo, tags: list[str]) -> dict:
    """What every listing shows of a repository."""
    info = {
        "_id": f"{repo.id:024x}",
        "id": repo.repo_id,
        "author": repo.namespace,
        "sha": repo.head,
        "private": repo.private,
        "gated": repo.gated or False,
        "disabled": False,
        "createdAt": repo.created_at,
        "lastModified": repo.updated_at,
        "downloads": 0,
        "likes": 0,
        "tags": tags,
    }
    if repo.type == "model":
        info["modelId"] = repo.repo_id
        info.update({key: repo.card[key] for key in ("library_name", "pipeline_tag") if key in repo.card})
    if repo.type == "dataset":
        info["description"] = str(repo.card.get("pretty_name") or "")
    if repo.type == "space":
        info["sdk"] = repo.card.get("sdk") or repo.sdk
    return info


def tags_of_repos(call: Call, repo_ids: list[int]) -> dict[int, list[str]]:
    tags: dict[int, list[str]] = {repo_id: [] for repo_id in repo_ids}
    marks = ",".join("?" * len(repo_ids))
    for row in call.hub.database.rows(f"SELECT repo_id, tag FROM tags WHERE repo_id IN ({marks})", *repo_ids):
        tags[row["repo_id"]].append(row["tag"])
    return tags


def sibling(path: str, entry: Entry, blobs: bool) -> dict:
    info: dict = {"rfilename": path}
    if blobs:
        info.update(size=entry.size, blobId=entry.oid)
        if entry.kind == LARGE:
            info["lfs"] = {"sha256": entry.sha256, "size": entry.size, "pointerSize": 127 + len(str(entry.size))}
    return info


def extras(call: Call, repo: Repo, commit: Commit | None) -> dict:
    """What a full answer adds, by the names under which `expand` asks for it."""
    more = {"cardData": repo.card, "usedStorage": repo.details.get("storage", 0)}
    if repo.type == "model":
        more["config"] = repo.details.get("config", {})
        if "model-index" in repo.card:
            more["model-index"] = repo.card["model-index"]
    if repo.type == "space":
        more["models"] = [value for value in repo.card.get("models") or [] if isinstance(value, str)]
        more["datasets"] = [value for value in repo.card.get("datasets") or [] if isinstance(value, str)]
        more["runtime"] = {"stage": "STOPPED", "hardware": {"current": None, "requested": None}}
    if commit is not None:
        blobs = call.flag("blobs")
        more["siblings"] = [sibling(path, entry, blobs) for path, entry in call.hub.trees.files(commit.tree)]
    return more


@routes("GET", "/api/{type}/{repo}", Right.METADATA)
def info(call: Call) -> Response:
    return _info(call, None)


@routes("GET", "/api/{type}/{repo}/revision/{rev}", Right.METADATA)
def info_at(call: Call) -> Response:
    return _info(call, call.params["rev"])


def _info(call: Call, revision: str | None) -> Response:
    hub = call.hub
    repo = call.repo
    commit = hub.repositories.resolve(repo, revision) if revision else hub.repositories.commit(repo, repo.head)
    info = summary(call, repo, tags_of_repos(call, [repo.id])[repo.id])
    info.update(extras(call, repo, commit))
    info["sha"] = commit.oid
    info["lastModified"] = commit.created_at
    if expand := call.queries("expand"):
        info = {key: info[key] for key in ("_id", "id", *expand) if key in info}
    return json_response(info)


@routes("GET", "/api/{type}", Right.OPEN)
def listing(call: Call) -> Response:
    clauses, values = _filters(call)
    column = SORTS.get(call.query("sort") or "", "updated_at")
    descending = call.query("direction") != "1"
    sign, order = ("<", "DESC") if descending else (">", "ASC")
    if cursor := call.query("cursor"):
        try:
            last, last_id = json.loads(base64.urlsafe_b64decode(cursor))
        except ValueError as error:
            raise bad_request("Malformed cursor.") from error
        clauses.append(f"({column}, id) {sign} (?, ?)")
        values += [str(last), int(last_id)]
    limit = call.number("limit", PAGE, 1, PAGE)
    rows = call.hub.database.rows(
        f"SELECT * FROM repos WHERE {' AND '.join(clauses)} ORDER BY {column} {order}, id {order} LIMIT ?",
        *values,
        limit + 1,
    )
    repos = [Repo.of(row) for row in rows[:limit]]
    headers = None
    if len(rows) > limit:
        position = json.dumps([rows[limit - 1][column], rows[limit - 1]["id"]]).encode()
        headers = call.next_link(cursor=base64.urlsafe_b64encode(position).decode())
    return json_response(_items(call, repos), headers=headers)


def _filters(call: Call) -> tuple[list[str], list]:
    clauses, values = ["type = ?"], [call.repo_type]
    tags = [tag for text in call.queries("filter") for tag in text.split(",")]
    for tag in [*tags, *call.queries("pipeline_tag")]:
        # A rare tag is looked up first; a common one is tested along the order of the listing, page by page.
        rare = "SELECT COUNT(*) AS n FROM (SELECT 1 FROM tags WHERE tag = ? LIMIT 500)"
        if call.hub.database.row(rare, tag)["n"] < 500:
            clauses.append("id IN (SELECT repo_id FROM tags WHERE tag = ?)")
        else:
            clauses.append("EXISTS (SELECT 1 FROM tags WHERE tag = ? AND repo_id = repos.id)")
        values.append(tag)
    if author := call.query("author"):
        clauses.append("namespace = ?")
        values.append(author)
    if search := call.query("search"):
        clauses.append("namespace || '/' || name LIKE ? ESCAPE '\\'")
        values.append("%" + search.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_") + "%")
    if call.query("gated") is not None:
        clauses.append(f"gated IS {'NOT ' if call.flag('gated') else ''}NULL")
    where, names = visible(call.user)
    return [*clauses, where], [*values, *names]


def _items(call: Call, repos: list[Repo]) -> list[dict]:
    tags = tags_of_repos(call, [repo.id for repo in repos])
    expand = call.queries("expand")
    full = call.flag("full")
    items = []
    for repo in repos:
        item = summary(call, repo, tags[repo.id])
        if full or "siblings" in expand:
            item.update(extras(call, repo, call.hub.repositories.commit(repo, repo.head)))
        elif expand or call.flag("cardData") or call.flag("config"):
            item.update(extras(call, repo, None))
        if expand:
            item = {key: item[key] for key in ("_id", "id", *expand) if key in item}
        items.append(item)
    return items


@routes("POST", "/api/validate-yaml", Right.OPEN)
def validate_yaml(call: Call) -> Response:
    body = call.json()
    content, repo_type = body.get("content"), body.get("repoType") or "model"
    if not isinstance(content, str) or repo_type not in PREFIXES:
        errors, warnings = ["'content' must be a string and 'repoType' model, dataset or space"], []
    else:
        try:
            errors, warnings = call.hub.readers.read(call.user.name, "card_faults", content, repo_type)
        except ReadingError as error:
            errors, warnings = [f"The card cannot be read: {error}."], []
    answer = {"errors": [{"message": text} for text in errors], "warnings": [{"message": text} for text in warnings]}
    return json_response(answer, 400 if errors else 200)
