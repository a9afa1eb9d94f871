"""Every route, every kind of visitor, every kind of repository, against the table in rights.txt."""

import http.client
import json
import re
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from hfdistill.servers.hub import absent_routes
from hfdistill.servers.hub.app import create_app
from hfdistill.servers.hub.service import Hub


KINDS = ("public", "private", "gated", "disabled")
MARK = b"only-for-whoever-may-read"
TABLES = Path(__file__).with_name("rights.txt").read_text().partition("\nROUTES\n")
HEADER, *LINES = (line.split() for line in TABLES[0][TABLES[0].index("right     ") :].splitlines() if line)
VISITORS = HEADER[2:]
EXPECTED = {(right, kind): dict(zip(VISITORS, outcomes, strict=True)) for right, kind, *outcomes in LINES}
ROWS = [line.split(maxsplit=3) for line in TABLES[2].splitlines() if " /" in line]
SAMPLE = {
    "type": "datasets", "prefix": "datasets/", "rev": "main", "path": "rows.jsonl", "num": "1", "oid": "main",
    "name": "lab", "branch": "none", "tag": "none", "item": "none", "status": "pending", "store": "none",
    "hash": "0" * 64, "git": ".git", "sha256": "0" * 64, "size": "1",
}  # fmt: skip


class Visitor:
    """One caller on a connection of its own, which stays open."""

    def __init__(self, url: str, token: str | None):
        self.connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=60)
        self.headers = {"Authorization": f"Bearer {token}"} if token else {}

    def __call__(self, method: str, path: str, body: object = None) -> tuple[int, str | None, bytes]:
        """Status, error code and content."""
        data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        self.connection.request(method, path, data, self.headers | {"Content-Type": "application/json"})
        answer = self.connection.getresponse()
        return answer.status, answer.headers["X-Error-Code"], answer.read()


@pytest.fixture(scope="module")
def visitors(served, tmp_path_factory) -> dict[str, Visitor]:
    """All visitors of a Hub on which `lab` has a dataset of each kind, with a pull request that cannot be merged."""
    data = tmp_path_factory.mktemp("rights") / "data"
    store = Hub(data)
    accounts = store.accounts
    users = {"owner": "write", "writer": "write", "member": "write", "other": "write", "pending": "write",
             "accepted": "write", "admin": "admin"}  # fmt: skip
    tokens = {user: accounts.create_token(user, "default", role) for user, role in users.items()}
    tokens["reader"] = accounts.create_token("owner", "reads", "read")
    for user, role in {"owner": "admin", "writer": "write", "member": "read"}.items():
        accounts.add_member("lab", user, role)
    url = served(data).url
    found = {name: Visitor(url, tokens.get(name)) for name in VISITORS}
    owner = found["owner"]
    for kind in KINDS:
        made = {"organization": "lab", "private": kind == "private"}
        repo = f"/api/datasets/lab/{kind}-set"
        assert owner("POST", "/api/repos/create", made | {"type": "dataset", "name": f"{kind}-set"})[0] == 200
        for version, query in ((b"1", ""), (b"2", "?create_pr=1"), (b"3", "")):
            row = {"path": "rows.jsonl", "content": json.dumps({version.decode(): MARK.decode()}), "encoding": "utf-8"}
            lines = [{"key": "header", "value": {"summary": "rows"}}, {"key": "file", "value": row}]
            body = "\n".join(map(json.dumps, lines)).encode()
            assert owner("POST", f"{repo}/commit/main{query}", body)[0] == 200
        assert owner("POST", f"{repo}/discussions/1/comment", {"comment": "why?"})[0] == 200
        for visitor in VISITORS:
            assert owner("POST", "/api/repos/create", made | {"name": f"{visitor}-{kind}"})[0] == 200
        if kind == "gated":
            for gated in (repo, *(f"/api/models/lab/{visitor}-{kind}" for visitor in VISITORS)):
                assert owner("PUT", f"{gated}/settings", {"gated": "manual"})[0] == 200
            for visitor in ("pending", "accepted"):
                assert found[visitor]("POST", f"{repo}/ask-access")[0] == 200
            accept = {"user": "accepted", "status": "accepted"}
            assert owner("POST", f"{repo}/user-access-request/handle", accept)[0] == 200
    store.repositories.disable("dataset", "lab/disabled-set", True)
    for visitor in VISITORS:
        store.repositories.disable("model", f"lab/{visitor}-disabled", True)
    return found


def outcome(status: int, code: str | None) -> str:
    if code in ("RepoNotFound", "GatedRepo"):
        return {"RepoNotFound": "hidden", "GatedRepo": "gate"}[code]
    return {401: "token", 403: "no"}.get(status, "yes")


def filled(path: str, values: dict[str, str]) -> str:
    """An address that a route's path stands for."""
    path = path.replace("(?P<namespace>(?!api$)[^/_][^/]*)", "lab").replace(
        "(?:telemetry/.*|agent-harnesses)", "telemetry/x"
    )
    return re.sub(r"\{(\w+)\}", lambda match: values[match[1]], path)


def test_every_route_has_a_row(tmp_path) -> None:
    everything = create_app(tmp_path / "data").routes
    routes = {(route.methods[0], route.path) for route in everything if route not in absent_routes.routes.all}
    assert {(method, re.sub(r"(?<!\()\?.*", "", path)) for _, method, path, *_ in ROWS} == routes


@pytest.mark.parametrize("kind", KINDS)
def test_the_table(visitors, kind: str) -> None:
    repo = f"lab/{kind}-set"
    owner, admin = visitors["owner"], visitors["admin"]
    events = json.loads(admin("GET", f"/api/datasets/{repo}/discussions/1")[2])["events"]
    event = next(event["id"] for event in events if event["type"] == "comment")
    wrong = []
    for name, visitor in visitors.items():
        collection = json.loads(owner("POST", "/api/collections", {"title": f"{name} {kind}", "namespace": "lab"})[2])
        values = {**SAMPLE, "repo": repo, "event": event, "slug": collection["slug"], "spare": f"{name}-{kind}"}
        sees, reads = (EXPECTED[right, kind][name] == "yes" for right in ("metadata", "content"))
        for right, method, path, *body in ROWS:
            address = filled(path, values)
            sent = re.sub(r"\{(spare)\}", values["spare"], body[0]).encode() if body else b"{}"
            status, code, content = visitor(method, address, sent if method != "GET" else None)
            expected = (EXPECTED.get((right, kind)) or EXPECTED[right, "-"])[name]
            if outcome(status, code) != expected:
                wrong.append(f"{name}: {method} {address} is {outcome(status, code)}, not {expected}")
            named = kind in address or kind.encode() in sent
            if status >= 500 or (MARK in content and not reads) or (repo.encode() in content and not (sees or named)):
                wrong.append(f"{name}: {method} {address} tells too much, or fails ({status})")
        assert (MARK in visitor("GET", f"/datasets/{repo}/resolve/main/rows.jsonl")[2]) == reads
    assert not wrong, "\n".join(wrong)
