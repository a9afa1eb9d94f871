"""HTML for people: a card, files, commits, a dataset's first rows. Rendered here, no script anywhere."""

import hashlib
import json
import mimetypes
import re
from html import escape
from urllib.parse import quote

from .accounts import ANONYMOUS
from .collections import Collection
from .differences import difference
from .errors import HubError
from .first_rows import files_of_configs
from .page_templates import environment
from .readers import ReadingError
from .repositories import PREFIXES, Commit, Repo
from .rights import Right, visible_repos
from .routing import Call, Response, Routes
from .trees import FOLDER, changed_files, check_path


routes = Routes(patient=True)

# Even if something slipped through the cleaning, the browser would run and load nothing from elsewhere.
POLICY = (
    "default-src 'none'; img-src 'self' data:; style-src 'unsafe-inline'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'"
)
NUMBER = re.compile(r"-?\d[\d.,]*(?:e[+-]?\d+)?")
LONG_CELL = 24
MAX_SHOWN = 256 * 1024
MAX_ENTRIES = 1000
PAGE = 50
PLURALS = {"model": "models", "dataset": "datasets", "space": "spaces"}
# Keys of a card that name what a repository was made from.
PARENT_KEYS = {"base_model": "model", "teacher_model": "model", "datasets": "dataset", "models": "model"}
TABS = (("Card", ""), ("Files", "/tree/main"), ("Commits", "/commits/main"), ("Discussions", "/discussions"))


def _day(time: str) -> str:
    return time[:10]


def _look(cell: str) -> str:
    """How a cell of first rows is set: numbers and names in one piece, a text with room."""
    if NUMBER.fullmatch(cell):
        return "number"
    return "words" if len(cell) > LONG_CELL else "short"


_templates = environment({"day": _day, "look": _look, "quote": lambda text: quote(text, safe="")})


def comment_html(call: Call, text: str) -> str:
    """A comment as HTML; one that cannot be rendered as the text that it is."""
    key = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
    try:
        return call.hub.page_readers.read(call.caller, "comment", text, key=key)
    except ReadingError:
        return f"<pre>{escape(text)}</pre>"


def page(call: Call, template: str, status: int = 200, **values) -> Response:
    html = _templates.get_template(template).render(user=call.user, base_url=call.base_url, **values)
    headers = {
        "Content-Security-Policy": POLICY,
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "same-origin",
    }
    return Response(html, status, headers, media_type="text/html")


def error_page(call: Call, error: HubError) -> Response:
    """An error for a browser; the client's headers stay."""
    if call.user is None:
        call.user = ANONYMOUS
    response = page(call, "message", error.status, title=f"Error {error.status}", message=error.message)
    response.headers.update({key: value for key, value in error.response().headers.items() if key.startswith("x-")})
    return response


def _repos(call: Call, where: str, *values: object, limit: int = PAGE, offset: int = 0) -> list[Repo]:
    mine, names = visible_repos(call.user)
    rows = call.hub.database.rows(
        f"SELECT * FROM repos WHERE {where} AND {mine} ORDER BY updated_at DESC LIMIT ? OFFSET ?",
        *values,
        *names,
        limit,
        offset,
    )
    return [Repo.of(row) for row in rows]


@routes("GET", "/", Right.OPEN)
def home(call: Call) -> Response:
    groups = {plural: _repos(call, "type = ?", kind, limit=10) for kind, plural in PLURALS.items()}
    return page(call, "home", title="hfdistill hub", groups=groups)


@routes("GET", "/login", Right.OPEN)
def login(call: Call) -> Response:
    if call.user.anonymous:
        return HubError(401, "Log in with any user name and your token as the password.").response()
    return Response(status_code=303, headers={"Location": "/"})


@routes("GET", "/{type}", Right.OPEN)
def listing(call: Call) -> Response:
    where, values = "type = ?", [call.repo_type]
    search, tag = call.query("search"), call.query("filter")
    if search:
        where += " AND instr(lower(namespace || '/' || name), lower(?))"
        values.append(search)
    if tag:
        where += " AND id IN (SELECT repo_id FROM tags WHERE tag = ?)"
        values.append(tag)
    start = call.number("p", 0, 0, 10**6)
    repos = _repos(call, where, *values, limit=PAGE + 1, offset=start * PAGE)
    link = f"?p={start + 1}&search={quote(search or '')}&filter={quote(tag or '')}" if len(repos) > PAGE else None
    kind = call.params["type"]
    title = f"{kind.capitalize()}{f' tagged {tag}' if tag else ''}"
    return page(call, "listing", title=title, kind=kind, search=search, repos=repos[:PAGE], next=link)


@routes("GET", "/collections", Right.OPEN)
def collections(call: Call) -> Response:
    found = call.hub.collections.listed(call.user, [], [], 500, 0)
    return page(call, "collections", title="Collections", collections=found)


@routes("GET", "/collections/{slug}", Right.OPEN)
def collection(call: Call) -> Response:
    found: Collection = call.hub.collections.get(call.user, call.params["slug"])
    items = []
    for row in call.hub.collections.items(call.user, found):
        link = f"/{PREFIXES[row['type']]}{row['item']}" if row["type"] in PREFIXES else None
        items.append({"type": row["type"], "name": row["item"], "note": row["note"], "link": link})
    return page(call, "collection", title=found.title, collection=found, items=items)


@routes("GET", "/(?P<namespace>(?!api$)[^/_][^/]*)", Right.OPEN)
def namespace(call: Call) -> Response:
    name = call.params["namespace"]
    repos = _repos(call, "namespace = ?", name, limit=500)
    if not repos:
        raise HubError(404, f"There is nothing under the name '{name}'.")
    return page(call, "listing", title=name, repos=repos, next=None)


def _repo_page(call: Call, template: str, tab: str, **values) -> Response:
    repo = call.repo
    return page(call, template, title=repo.repo_id, repo=repo, kind=PLURALS[repo.type], tabs=TABS, tab=tab, **values)


@routes("GET", "/{prefix}{repo}", Right.METADATA)
def card(call: Call) -> Response:
    hub = call.hub
    repo = call.repo
    tags = hub.database.rows("SELECT tag FROM tags WHERE repo_id = ? ORDER BY tag", repo.id)
    tree = hub.repositories.commit(repo, repo.head).tree
    entry = hub.trees.find(tree, "README.md")
    blob = hub.blobs.find(entry.sha256) if entry and entry.sha256 else None
    html = text = why = ""
    if blob:
        try:
            key = f"{entry.sha256} {repo.url_path}"
            html = hub.page_readers.read(call.caller, "page", blob, f"/{repo.url_path}", key=key)
        except ReadingError as error:
            text, why = blob.read(MAX_SHOWN).decode("utf-8", "replace"), str(error)
    gate = not hub.repositories.has_access(call.user, repo)
    configs: dict[str, str] = {}
    rows = None
    config = None
    if repo.type == "dataset" and not gate:
        configs = files_of_configs(repo.card, (path for path, _ in hub.trees.files(tree)))
        config = call.query("config") if call.query("config") in configs else next(iter(configs), None)
        if config:
            rows = _first_rows(call, configs[config], hub.trees.find(tree, configs[config]).sha256)
    return _repo_page(
        call,
        "card",
        "Card",
        tags=[row["tag"] for row in tags],
        card=html,
        text=text,
        why=why,
        gate=gate,
        rows=rows,
        configs=list(configs),
        config=config,
        parents=_parents(call, repo),
    )


def _first_rows(call: Call, path: str, sha256: str) -> dict:
    blob = call.hub.blobs.find(sha256)
    try:
        return call.hub.page_readers.read(call.caller, "rows", path, blob, key=f"{sha256} {path}")
    except ReadingError as error:
        return {"path": path, "why": str(error)}


def _parents(call: Call, repo: Repo) -> list[Repo]:
    """The repositories of this Hub that the card names as what this one was made from."""
    parents = []
    for kind, key in (
        ("model", "base_model"),
        ("model", "teacher_model"),
        ("dataset", "datasets"),
        ("model", "models"),
    ):
        names = repo.card.get(key)
        for name in names if isinstance(names, list) else [names]:
            if not isinstance(name, str) or name.count("/") != 1:
                continue
            found = call.hub.repositories.find(kind, *name.split("/"))
            if found and found.id != repo.id and call.hub.repositories.may_see(call.user, found):
                parents.append(found)
    return parents


@routes("GET", "/{prefix}{repo}/tree/{rev}", Right.METADATA)
def tree_root(call: Call) -> Response:
    return _tree(call, "")


@routes("GET", "/{prefix}{repo}/tree/{rev}/{path}", Right.METADATA)
def tree(call: Call) -> Response:
    return _tree(call, call.params["path"].strip("/"))


def _tree(call: Call, path: str) -> Response:
    hub = call.hub
    repo = call.repo
    revision = call.params["rev"]
    commit = hub.repositories.resolve(repo, revision)
    root = commit.tree
    if path:
        check_path(path)
        entry = hub.trees.find(root, path)
        if entry is None or entry.kind != FOLDER:
            raise HubError(404, f"There is no folder '{path}'.", "EntryNotFound")
        root = entry.oid
    base = f"/{repo.url_path}"
    rev = quote(revision, safe="")
    commits: dict[str, Commit | None] = {}
    entries = []
    found = sorted(hub.trees.load(root).items(), key=lambda item: (item[1].kind != FOLDER, item[0]))
    for name, entry in found[:MAX_ENTRIES]:
        full = quote(f"{path}/{name}" if path else name)
        if entry.commit not in commits:
            commits[entry.commit] = hub.repositories.find_commit(repo, entry.commit)
        last = commits[entry.commit]
        folder = entry.kind == FOLDER
        entries.append(
            {
                "name": f"{name}/" if folder else name,
                "link": f"{base}/{'tree' if folder else 'blob'}/{rev}/{full}",
                "size": _size(entry.size),
                "download": None if folder else f"{base}/resolve/{rev}/{full}?download=true",
                "title": last.title if last else "",
            }
        )
    parts = path.split("/") if path else []
    crumbs = [(part, f"{base}/tree/{rev}/{quote('/'.join(parts[: depth + 1]))}") for depth, part in enumerate(parts)]
    refs = [*hub.repositories.refs(repo, "refs/heads/"), *hub.repositories.refs(repo, "refs/tags/")]
    return _repo_page(
        call,
        "tree",
        "Files",
        revision=revision,
        crumbs=[(repo.name, f"{base}/tree/{rev}"), *crumbs],
        entries=entries,
        more=max(0, len(found) - MAX_ENTRIES),
        refs=refs[:100],
    )


def _size(size: int) -> str:
    value, unit = float(size), "B"
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1000 or unit == "GB":
            break
        value /= 1000
    return f"{size} B" if unit == "B" else f"{value:.1f} {unit}"


@routes("GET", "/{prefix}{repo}/blob/{rev}/{path}", Right.CONTENT)
def blob(call: Call) -> Response:
    hub = call.hub
    path = call.params["path"]
    check_path(path)
    entry = hub.trees.find(hub.repositories.resolve(call.repo, call.params["rev"]).tree, path)
    if entry is None or entry.kind == FOLDER:
        raise HubError(404, f"There is no file '{path}'.", "EntryNotFound")
    text = None
    if entry.size <= MAX_SHOWN:
        data = hub.blobs.find(entry.sha256).read()
        text = None if b"\0" in data else data.decode("utf-8", "replace")
    image = (mimetypes.guess_type(path)[0] or "").startswith("image/")
    return _repo_page(
        call,
        "blob",
        "Files",
        revision=call.params["rev"],
        path=path,
        size=_size(entry.size),
        text=None if image else text,
        image=image,
        sha256=entry.sha256,
        download=f"/{call.repo.url_path}/resolve/{quote(call.params['rev'], safe='')}/{quote(path)}",
    )


@routes("GET", "/{prefix}{repo}/commits/{rev}", Right.METADATA)
def commits(call: Call) -> Response:
    repo = call.repo
    start = call.hub.repositories.resolve(repo, call.params["rev"])
    history = call.hub.repositories.history(repo, start.oid, PAGE + 1)
    older = history[PAGE].oid if len(history) > PAGE else None
    return _repo_page(call, "commits", "Commits", commits=history[:PAGE], next=older)


@routes("GET", "/{prefix}{repo}/commit/{oid}", Right.METADATA)
def commit(call: Call) -> Response:
    repo = call.repo
    hub = call.hub
    made = hub.repositories.resolve(repo, call.params["oid"])
    before = dict(hub.trees.files(hub.repositories.commit(repo, made.parent).tree)) if made.parent else {}
    changes = changed_files(before, dict(hub.trees.files(made.tree)))
    return _repo_page(call, "commit", "Commits", commit=made, difference=difference(call, changes))


@routes("GET", "/{prefix}{repo}/discussions", Right.METADATA)
def discussions(call: Call) -> Response:
    repo = call.repo
    found = call.hub.database.rows("SELECT * FROM discussions WHERE repo_id = ? ORDER BY num DESC LIMIT 500", repo.id)
    return _repo_page(call, "discussions", "Discussions", discussions=found)


@routes("GET", "/{prefix}{repo}/discussions/{num}", Right.METADATA)
def discussion(call: Call) -> Response:
    repo = call.repo
    item = call.hub.discussions.get(repo, call.params["num"])
    events = [_shown_event(call, row) for row in call.hub.discussions.events(item)]
    changed = difference(call, call.hub.discussions.changes(repo, item)) if item.base else None
    return _repo_page(call, "discussion", "Discussions", item=item, events=events, difference=changed)


def _shown_event(call: Call, row) -> dict:
    data = json.loads(row["data"])
    text, html = row["type"], ""
    if row["type"] == "comment":
        html = "<p>hidden</p>" if data["hidden"] else comment_html(call, data["latest"]["raw"])
    elif row["type"] == "commit":
        text = f"commit {data['oid'][:8]}: {data['subject']}"
    elif row["type"] == "status-change":
        text = f"now {data['status']}"
    elif row["type"] == "title-change":
        text = f"new title: {data['to']}"
    return {"author": row["author"], "created_at": row["created_at"], "text": text, "html": html}
