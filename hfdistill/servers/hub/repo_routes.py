"""Routes on whole repositories: create, delete, move, settings, info, listing, who am I."""

from .accounts import LOCAL_USER
from .errors import HubError, absent, bad_request
from .readers import ReadingError
from .repo_info import expanded, info_of, tags_of_repos
from .repositories import is_repo_type
from .rights import Right
from .routing import Call, Response, Routes, json_response


routes = Routes()

SDKS = ("gradio", "streamlit", "docker", "static")
# Keys of a new repository that the real Hub takes and this one has no use for.
SPACE_KEYS = ("hardware", "sleepTimeSeconds", "storageTier", "secrets", "variables", "volumes", "template", "devMode")


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
    if repo_type in ("bucket", "kernel"):
        raise absent(f"has models, datasets and Spaces, but no {repo_type}s")
    if not is_repo_type(repo_type):
        raise bad_request(f"Unknown repository type {repo_type!r}: model, dataset or space.")
    return repo_type


def is_private(body: dict) -> bool | None:
    visibility = body.get("visibility")
    if visibility is None:
        private = body.get("private")
        if private is not None and not isinstance(private, bool):
            raise bad_request("'private' must be true or false.")
        return private
    if visibility not in ("public", "private"):
        raise bad_request(f"Unknown visibility {visibility!r}: public or private.")
    return visibility == "private"


def check_keys(body: dict, known: tuple[str, ...]) -> None:
    """Refuses what would otherwise be dropped in silence.

    Raises:
        [`HubError`]: 501, the body has a key that this Hub does nothing with.
    """
    for key, value in body.items():
        if key in SPACE_KEYS and value:
            raise absent(f"runs no Spaces, so it takes no '{key}': leave it out and set it where the Space runs")
        if key not in known and value not in (None, False, [], {}):
            raise absent(f"does not know '{key[:100]}' of a repository, only {', '.join(known)}")


@routes("POST", "/api/repos/create", Right.ACT)
def create(call: Call) -> Response:
    body = call.json()
    check_keys(body, ("name", "organization", "type", "sdk", "private", "visibility"))
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
    """Makes a new repository with the files and history of one that the user can read."""
    hub = call.hub
    source = call.repo
    body = call.json()
    check_keys(body, ("repository", "private", "visibility"))
    target = body.get("repository")
    if not isinstance(target, str) or target.count("/") != 1:
        raise bad_request(f"'repository' must be 'namespace/name', got {target!r}.")
    private = is_private(body)
    private = source.private if private is None else private
    repo, new = hub.repositories.create(call.user, source.type, *target.split("/"), private, source.sdk, source)
    answer = {"url": f"{call.base_url}/{repo.url_path}"}
    if not new:
        raise HubError(409, f"You already created this {repo.type} repo: {repo.repo_id}.", body=answer)
    return json_response(answer)


@routes("PUT", "/api/{type}/{repo}/settings", Right.WRITE)
def settings(call: Call) -> Response:
    repo = call.repo
    body = call.json()
    check_keys(body, ("private", "visibility", "gated"))
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


@routes("GET", "/api/{type}/{repo}", Right.METADATA)
def info(call: Call) -> Response:
    return _info(call, None)


@routes("GET", "/api/{type}/{repo}/revision/{rev}", Right.METADATA)
def info_at(call: Call) -> Response:
    return _info(call, call.params["rev"])


def _info(call: Call, revision: str | None) -> Response:
    repo, repositories = call.repo, call.hub.repositories
    if call.flag("securityStatus"):
        raise absent("scans no files, so it knows no security status")
    names = expanded(call)
    commit = repositories.resolve(repo, revision) if revision else repositories.commit(repo, repo.head)
    info = info_of(call, repo, tags_of_repos(call, [repo.id])[repo.id], commit.tree, True)
    info |= {"sha": commit.oid, "lastModified": commit.created_at}
    return json_response({key: info[key] for key in ("_id", "id", *names) if key in info} if names else info)


@routes("POST", "/api/validate-yaml", Right.OPEN, patient=True)
def validate_yaml(call: Call) -> Response:
    body = call.json()
    content, repo_type = body.get("content"), body.get("repoType") or "model"
    if not isinstance(content, str) or not is_repo_type(repo_type):
        errors, warnings = ["'content' must be a string and 'repoType' model, dataset or space"], []
    else:
        try:
            errors, warnings = call.hub.readers.read(call.caller, "card_faults", content, repo_type)
        except ReadingError as error:
            errors, warnings = [f"The card cannot be read: {error}."], []
    answer = {"errors": [{"message": text} for text in errors], "warnings": [{"message": text} for text in warnings]}
    return json_response(answer, 400 if errors else 200)
