"""Routes of the lists of models, datasets and Spaces; what this Hub cannot filter or sort by is refused."""

import base64
import json

from .errors import absent, bad_request
from .repo_info import expanded, info_of, tags_of_repos
from .repositories import Repo
from .rights import Right, visible_repos
from .routing import Call, Response, Routes, json_response


routes = Routes()

PAGE = 1000
SORTS = {"lastModified": "updated_at", "last_modified": "updated_at", "createdAt": "created_at"}
COMMON = {"filter", "author", "search", "gated", "sort", "direction", "limit", "cursor", "full", "cardData", "expand"}
QUERIES = {
    "model": COMMON | {"pipeline_tag", "config"},
    "dataset": COMMON,
    "space": COMMON | {"models", "datasets", "linked"},
}


@routes("GET", "/api/{type}", Right.OPEN)
def listing(call: Call) -> Response:
    clauses, values = _filters(call)
    column, descending = _order(call)
    sign, order = ("<", "DESC") if descending else (">", "ASC")
    if cursor := call.query("cursor"):
        try:
            last, last_id = json.loads(base64.urlsafe_b64decode(cursor))
            values += [str(last), int(last_id)]
        except (ValueError, TypeError) as error:
            raise bad_request("Malformed cursor.") from error
        clauses.append(f"({column}, id) {sign} (?, ?)")
    limit = call.number("limit", PAGE, 1, PAGE)
    rows = call.hub.database.rows(
        f"SELECT * FROM repos WHERE {' AND '.join(clauses)} ORDER BY {column} {order}, id {order} LIMIT ?",
        *values,
        limit + 1,
    )
    headers = None
    if len(rows) > limit:
        position = json.dumps([rows[limit - 1][column], rows[limit - 1]["id"]]).encode()
        headers = call.next_link(cursor=base64.urlsafe_b64encode(position).decode())
    return json_response(_items(call, [Repo.of(row) for row in rows[:limit]]), headers=headers)


def _order(call: Call) -> tuple[str, bool]:
    """The column to sort by, and whether downwards."""
    sort, direction = call.query("sort") or "lastModified", call.query("direction") or "-1"
    if sort not in SORTS:
        counts = ": it counts no downloads and no likes" if sort in ("downloads", "likes", "trendingScore") else ""
        raise absent(f"sorts by lastModified or createdAt, not by '{sort[:100]}'{counts}")
    if direction not in ("1", "-1"):
        raise bad_request(f"'direction' must be 1 or -1, got '{direction[:100]}'.")
    return SORTS[sort], direction == "-1"


def _filters(call: Call) -> tuple[list[str], list]:
    known = QUERIES[call.repo_type]
    for name in call.query_names():
        if name not in known:
            raise absent(f"cannot choose {call.repo_type}s by '{name[:100]}', only by {', '.join(sorted(known))}")
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
    for search in call.queries("search"):
        clauses.append("namespace || '/' || name LIKE ? ESCAPE '\\'")
        values.append("%" + search.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_") + "%")
    if call.query("gated") is not None:
        clauses.append(f"gated IS {'NOT ' if call.flag('gated') else ''}NULL")
    for key in ("models", "datasets"):
        if names := call.queries(key):
            # What a Space's card says that it uses.
            marks = ",".join("?" * len(names))
            clauses.append(f"EXISTS (SELECT 1 FROM json_each(card, '$.{key}') WHERE value IN ({marks}))")
            values += names
    if call.flag("linked"):
        clauses.append("(json_extract(card, '$.models') IS NOT NULL OR json_extract(card, '$.datasets') IS NOT NULL)")
    where, names = visible_repos(call.user)
    return [*clauses, where], [*values, *names]


def _items(call: Call, repos: list[Repo]) -> list[dict]:
    tags = tags_of_repos(call, [repo.id for repo in repos])
    names = expanded(call)
    with_files = call.flag("full") or "siblings" in names
    full = with_files or bool(names) or call.flag("cardData") or call.flag("config")
    items = []
    for repo in repos:
        tree = call.hub.repositories.commit(repo, repo.head).tree if with_files else None
        item = info_of(call, repo, tags[repo.id], tree, full)
        items.append({key: item[key] for key in ("_id", "id", *names) if key in item} if names else item)
    return items
