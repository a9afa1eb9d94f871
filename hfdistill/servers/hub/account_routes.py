"""Routes on users and organisations, and on who may read gated repositories."""

from .accounts import LOCAL_USER
from .database import now
from .errors import HubError, absent, bad_request
from .repositories import Repo
from .rights import Right, visible_repos
from .routing import Call, Response, Routes, json_response


routes = Routes()


@routes("GET", "/api/users/{name}/overview", Right.OPEN)
def user_overview(call: Call) -> Response:
    user, name = _account(call, "user")
    rows = call.hub.database.rows(
        "SELECT name FROM accounts JOIN members ON org_id = id WHERE user_id = ? ORDER BY name", user
    )
    orgs = [{"name": row["name"], "fullname": row["name"]} for row in rows]
    return json_response({"user": name, "fullname": name, "type": "user", "orgs": orgs, **_counts(call, name)})


@routes("GET", "/api/organizations/{name}/overview", Right.OPEN)
def org_overview(call: Call) -> Response:
    _, name = _account(call, "org")
    return json_response({"name": name, "fullname": name, "type": "org", **_counts(call, name)})


@routes("GET", "/api/organizations/{name}/members", Right.OPEN)
def org_members(call: Call) -> Response:
    org, _ = _account(call, "org")
    rows = call.hub.database.rows(
        "SELECT users.name, members.role FROM members JOIN accounts AS users ON users.id = members.user_id "
        "WHERE members.org_id = ? ORDER BY users.name",
        org,
    )
    return json_response([{"user": row["name"], "fullname": row["name"], "role": row["role"]} for row in rows])


KINDS = {"user": "a user", "org": "an organisation"}


def _account(call: Call, kind: str) -> tuple[int, str]:
    """Id and name of an account of a kind; on a Hub without tokens a namespace may be of neither, and has id 0."""
    database = call.hub.database
    name = call.params["name"]
    row = database.row("SELECT id, name, kind FROM accounts WHERE name = ?", name)
    if row is None and name == LOCAL_USER:
        row = 0, name, "user"
    if row is None:
        where, mine = visible_repos(call.user)
        row = database.row(f"SELECT 0, namespace, ? FROM repos WHERE namespace = ? AND {where}", kind, name, *mine)
    if row is None:
        raise HubError(404, f"There is no {KINDS[kind].split()[1]} '{name}'.")
    if row[2] != kind:
        raise HubError(404, f"'{row[1]}' is {KINDS[row[2]]}, not {KINDS[kind]}.")
    return row[0], row[1]


def _counts(call: Call, name: str) -> dict[str, int]:
    where, mine = visible_repos(call.user)
    rows = call.hub.database.rows(
        f"SELECT type, COUNT(*) AS n FROM repos WHERE namespace = ? AND {where} GROUP BY type", name, *mine
    )
    counts = {row["type"]: row["n"] for row in rows}
    return {f"num{kind.capitalize()}s": counts.get(kind, 0) for kind in ("model", "dataset", "space")}


@routes("GET", "/api/settings/repositories", Right.LOGIN)
def own_repositories(call: Call) -> Response:
    return _repositories(call, call.user.name)


@routes("GET", "/api/organizations/{name}/settings/repositories", Right.LOGIN)
def org_repositories(call: Call) -> Response:
    name = call.params["name"]
    if not call.user.belongs_to(name):
        raise HubError(403, f"You are no member of '{name}'.")
    return _repositories(call, name)


def _repositories(call: Call, namespace: str) -> Response:
    where, mine = visible_repos(call.user)
    rows = call.hub.database.rows(
        f"SELECT * FROM repos WHERE namespace = ? AND {where} ORDER BY updated_at DESC", namespace, *mine
    )
    repos = [Repo.of(row) for row in rows]
    total = sum(repo.details.get("storage", 0) for repo in repos) or 1
    return json_response(
        [
            {
                "id": repo.repo_id,
                "type": repo.type,
                "updatedAt": repo.updated_at,
                "visibility": "private" if repo.private else "public",
                "storage": repo.details.get("storage", 0),
                "storagePercent": repo.details.get("storage", 0) / total,
            }
            for repo in repos
        ]
    )


@routes("POST", "/api/{type}/{repo}/ask-access", Right.ASK)
def ask_access(call: Call) -> Response:
    """Knocks at a gate: an automatic one opens, a manual one keeps the request for the owner."""
    repo = call.repo
    if call.hub.repositories.has_access(call.user, repo):
        raise bad_request(f"{repo.repo_id} is open to you: there is nothing to ask for.")
    status = "accepted" if repo.gated == "auto" else "pending"
    with call.hub.database.write() as write:
        write.execute(
            "INSERT INTO access (repo_id, user_id, status, created_at) VALUES (?, ?, ?, ?) "
            "ON CONFLICT (repo_id, user_id) DO UPDATE SET status = excluded.status WHERE status = 'pending'",
            (repo.id, call.user.id, status, now()),
        )
        # Whoever was rejected stays so.
        answer = write.execute(
            "SELECT status FROM access WHERE repo_id = ? AND user_id = ?", (repo.id, call.user.id)
        ).fetchone()
    return json_response({"status": answer["status"]})


def _gated(call: Call) -> Repo:
    if not call.repo.gated:
        raise bad_request(f"{call.repo.repo_id} is not gated.")
    return call.repo


@routes("GET", "/api/{type}/{repo}/user-access-request/{status}", Right.WRITE)
def access_requests(call: Call) -> Response:
    repo = _gated(call)
    rows = call.hub.database.rows(
        "SELECT access.*, accounts.name FROM access JOIN accounts ON accounts.id = access.user_id "
        "WHERE repo_id = ? AND status = ? ORDER BY access.id",
        repo.id,
        call.params["status"],
    )
    return json_response(
        [
            {
                "requestId": str(row["id"]),
                "user": {"user": row["name"], "fullname": row["name"]},
                "status": row["status"],
                "timestamp": row["created_at"],
            }
            for row in rows
        ]
    )


@routes("POST", "/api/{type}/{repo}/user-access-request/handle", Right.WRITE)
def handle_access(call: Call) -> Response:
    repo = _gated(call)
    body = call.json()
    status = body.get("status")
    if status not in ("accepted", "rejected", "pending"):
        raise bad_request(f"'status' must be accepted, rejected or pending, got {status!r}.")
    if body.get("rejectionReason"):
        raise absent("sends no mail, so it takes no reason for a rejection: leave it out")
    with call.hub.database.write() as write:
        if "requestId" in body:
            where, value = "id = ?", body["requestId"]
        else:
            where, value = "user_id = (SELECT id FROM accounts WHERE name = ?)", body.get("user")
        changed = write.execute(
            f"UPDATE access SET status = ? WHERE repo_id = ? AND {where}", (status, repo.id, str(value))
        ).rowcount
    if not changed:
        raise HubError(404, "There is no such access request.")
    return json_response({})


@routes("POST", "/api/{type}/{repo}/user-access-request/grant", Right.WRITE)
def grant_access(call: Call) -> Response:
    repo = _gated(call)
    name = call.json().get("user")
    row = call.hub.database.row("SELECT id FROM accounts WHERE name = ? AND kind = 'user'", str(name))
    if row is None:
        raise HubError(404, f"There is no user {name!r}.")
    with call.hub.database.write() as write:
        write.execute(
            "INSERT INTO access (repo_id, user_id, status, created_at) VALUES (?, ?, 'accepted', ?) "
            "ON CONFLICT (repo_id, user_id) DO UPDATE SET status = 'accepted'",
            (repo.id, row["id"], now()),
        )
    return json_response({})
