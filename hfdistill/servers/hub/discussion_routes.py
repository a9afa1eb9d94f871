"""Routes of discussions and pull requests."""

import json
import sqlite3

from .differences import difference
from .discussions import Discussion
from .errors import bad_request
from .pages import comment_html
from .repositories import Repo
from .rights import Right
from .routing import Call, Response, Routes, json_response


routes = Routes(patient=True)

PAGE = 50


def _found(call: Call) -> tuple[Repo, Discussion]:
    return call.repo, call.hub.discussions.get(call.repo, call.params["num"])


def _summary(repo: Repo, discussion: Discussion) -> dict:
    return {
        "num": discussion.num,
        "title": discussion.title,
        "status": discussion.status,
        "isPullRequest": discussion.base is not None,
        "author": {"name": discussion.author},
        "createdAt": discussion.created_at,
        "repo": {"name": repo.repo_id, "type": repo.type},
        "repoOwner": {"name": repo.namespace},
        "pinned": False,
    }


def _event(call: Call, row: sqlite3.Row) -> dict:
    data = json.loads(row["data"])
    if row["type"] == "comment":
        data["latest"]["html"] = comment_html(call, data["latest"]["raw"])
    return {
        "id": row["id"],
        "type": row["type"],
        "author": {"name": row["author"]},
        "createdAt": row["created_at"],
        "data": data,
    }


def _answer_event(call: Call, key: str, event_id: str) -> Response:
    row = call.hub.database.row("SELECT * FROM events WHERE id = ?", event_id)
    return json_response({key: _event(call, row)})


@routes("GET", "/api/{type}/{repo}/discussions", Right.METADATA)
def listing(call: Call) -> Response:
    repo = call.repo
    clauses, values = ["repo_id = ?"], [repo.id]
    kind, status = call.query("type") or "all", call.query("status") or "all"
    if kind not in ("all", "discussion", "pull_request") or status not in ("all", "open", "closed"):
        raise bad_request("'type' must be all, discussion or pull_request; 'status' all, open or closed.")
    if kind != "all":
        clauses.append("base IS NULL" if kind == "discussion" else "base IS NOT NULL")
    if status != "all":
        clauses.append("status IN ('open', 'draft')" if status == "open" else "status IN ('closed', 'merged')")
    if author := call.query("author"):
        clauses.append("author = ?")
        values.append(author)
    where = " AND ".join(clauses)
    count = call.hub.database.row(f"SELECT COUNT(*) AS n FROM discussions WHERE {where}", *values)["n"]
    start = call.number("p", 0, 0, 10**7) * PAGE
    rows = call.hub.database.rows(
        f"SELECT * FROM discussions WHERE {where} ORDER BY num DESC LIMIT ? OFFSET ?", *values, PAGE, start
    )
    found = [_summary(repo, Discussion(*row)) for row in rows]
    closed = call.hub.database.row(
        "SELECT COUNT(*) AS n FROM discussions WHERE repo_id = ? AND status IN ('closed', 'merged')", repo.id
    )["n"]
    return json_response({"discussions": found, "count": count, "start": start, "numClosedDiscussions": closed})


@routes("POST", "/api/{type}/{repo}/discussions", Right.DISCUSS)
def create(call: Call) -> Response:
    repo = call.repo
    body = call.json()
    pull_request = body.get("pullRequest", False)
    if not isinstance(pull_request, bool):
        raise bad_request("'pullRequest' must be true or false.")
    num = call.hub.discussions.open(call.user, repo, body.get("title"), body.get("description"), pull_request)
    url = f"{call.base_url}/{repo.url_path}/discussions/{num}"
    return json_response({"num": num, "url": url, "pullRequest": pull_request})


@routes("GET", "/api/{type}/{repo}/discussions/{num}", Right.METADATA)
def details(call: Call) -> Response:
    repo, discussion = _found(call)
    hub = call.hub
    answer = _summary(repo, discussion)
    answer["events"] = [_event(call, row) for row in hub.discussions.events(discussion)]
    if discussion.base is not None:
        merged = discussion.status == "merged"
        answer["changes"] = {"base": f"refs/heads/{discussion.base}"}
        if merged:
            answer["changes"]["mergeCommitId"] = discussion.merge_oid
        answer["filesWithConflicts"] = [] if merged else hub.discussions.conflicts(repo, discussion)
        if call.flag("diff"):
            answer["diff"] = difference(call, hub.discussions.changes(repo, discussion))
    return json_response(answer)


@routes("POST", "/api/{type}/{repo}/discussions/{num}/comment", Right.DISCUSS)
def comment(call: Call) -> Response:
    repo, discussion = _found(call)
    event = call.hub.discussions.comment(call.user, repo, discussion, call.json().get("comment"))
    return _answer_event(call, "newMessage", event)


@routes("POST", "/api/{type}/{repo}/discussions/{num}/title", Right.DISCUSS)
def retitle(call: Call) -> Response:
    repo, discussion = _found(call)
    event = call.hub.discussions.retitle(call.user, repo, discussion, call.json().get("title"))
    return _answer_event(call, "newTitle", event)


@routes("POST", "/api/{type}/{repo}/discussions/{num}/status", Right.DISCUSS)
def set_status(call: Call) -> Response:
    repo, discussion = _found(call)
    body = call.json()
    event = call.hub.discussions.set_status(call.user, repo, discussion, body.get("status"), body.get("comment"))
    return _answer_event(call, "newStatus", event)


@routes("POST", "/api/{type}/{repo}/discussions/{num}/merge", Right.WRITE)
def merge(call: Call) -> Response:
    repo, discussion = _found(call)
    commit = call.hub.discussions.merge(call.user, repo, discussion, call.json().get("comment"))
    return json_response({"commitOid": commit.oid})


@routes("POST", "/api/{type}/{repo}/discussions/{num}/comment/{event}/edit", Right.DISCUSS)
def edit(call: Call) -> Response:
    return _edit(call, call.json().get("content", ""))


@routes("POST", "/api/{type}/{repo}/discussions/{num}/comment/{event}/hide", Right.DISCUSS)
def hide(call: Call) -> Response:
    return _edit(call, None)


def _edit(call: Call, text: str | None) -> Response:
    repo, discussion = _found(call)
    event = call.params["event"]
    call.hub.discussions.edit_comment(call.user, repo, discussion, event, text)
    return _answer_event(call, "updatedComment", event)
