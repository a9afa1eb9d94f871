"""A client that sends what is almost right to every route that takes a body, and what the Hub is like after it."""

import http.client
import io
import json
import random
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from urllib.parse import urlencode

import psutil
import pyarrow as pa
import pyarrow.parquet as pq

from . import mutations
from .conftest import RunningHub
from .xet_uploads import Sender, Xorb, large_file, shard, xorb_of


JSON = {"Content-Type": "application/json"}
CARD = """---
license: mit
language: [en, de]
tags:
- hfdistill
- &tag distillation
base_model: org/base
datasets: [org/rows]
model-index:
- name: m
  results:
  - task: {type: text-generation}
    metrics: [{type: accuracy, value: 0.5}]
configs:
- config_name: default
  data_files: [{split: train, path: "rows.*"}]
extra: {a: *tag, b: 2001-01-01, c: 1_000, d: !!str 1}
---
# A card

<p align="center">text</p>

| a | b |
|---|---|
| 1 | [2](x.md) |
"""


@dataclass
class Request:
    """A body that the Hub takes: where it goes, how it is spoiled, what is put around it, what is read afterwards."""

    method: str
    path: str
    body: bytes
    spoil: Callable[[random.Random, bytes], bytes]
    wrap: Callable[[bytes], bytes] = bytes
    headers: dict[str, str] = field(default_factory=dict)
    page: str | None = None


class Fuzzer:
    """Sends spoiled requests to a Hub without tokens, one after the other.

    Args:
        hub (`RunningHub`):
            A fresh one.
        seed (`int`):
            Decides, together with a request's number, which one it is and how it is spoiled.
    """

    def __init__(self, hub: RunningHub, seed: int):
        self.hub = hub
        self.seed = seed
        self.found: list[str] = []
        self.statuses: Counter[int] = Counter()
        self.process = psutil.Process(hub.process.pid)
        self.requests: list[Request] = []
        for request in self._requests():
            self.requests.append(request)
            status, answer = self._send(request, request.wrap(request.body))
            assert status < 300, (request.method, request.path, status, answer)
        self.began = self.process.num_fds()

    def run(self, number: int) -> None:
        """Sends the request of a number; what the Hub may not do is noted in `found`."""
        draw = random.Random(f"{self.seed} {number}")
        request = draw.choice(self.requests)
        body = request.wrap(request.spoil(draw, request.body))
        what = f"seed {self.seed}, request {number}: {request.method} {request.path}"
        try:
            status, answer = self._send(request, body, in_pieces=draw.random() < 0.1)
        except (OSError, http.client.HTTPException) as error:
            self.found.append(f"{what}: {error!r}")
            return
        self.statuses[status] += 1
        if status in (500, 503, 507) or (status >= 400 and not answer):
            self.found.append(f"{what}: {status} {answer[:200]!r}")

    def _send(self, request: Request, body: bytes, in_pieces: bool = False) -> tuple[int, bytes]:
        pieces = (body[start : start + 1000] for start in range(0, len(body), 1000))
        status, _, answer = self.hub.request(
            request.method, request.path, pieces if in_pieces else body, request.headers
        )
        if request.page:
            shown, _, page = self.hub.request("GET", request.page, headers={"Accept": "text/html"})
            if shown >= 300:
                return shown, page
        return status, answer

    def left(self) -> dict[str, float]:
        """What the server holds, in megabytes and numbers, once it is at rest."""
        children = self.process.children(recursive=True)
        return {
            "server": self.process.memory_info().rss / 1e6,
            "readers": max((child.memory_info().rss / 1e6 for child in children), default=0),
            "processes": len(children),
            "threads": self.process.num_threads(),
            "files": self.process.num_fds() - self.began,
            "temporary": len(list((self.hub.data / "blobs" / "tmp").iterdir())),
        }

    def _requests(self) -> Iterator[Request]:
        hub = self.hub
        repo, weights = hub.create("fuzzed"), random.Random(0).randbytes(3000)
        api, batch = f"/api/models/{repo}", f"/{repo}.git/info/lfs/objects/batch"
        large = large_file("w.bin", weights)
        name = {key: large["value"][key] for key in ("oid", "size")}
        upload = {"operation": "upload", "objects": [name], "transfers": ["basic"]}
        address = json.loads(hub.request("POST", batch, upload)[2])["objects"][0]["actions"]["upload"]["href"]
        yield Request("PUT", address.removeprefix(hub.url), weights, mutations.spoiled_bytes)
        commit = hub.commit_body(large, hub.file("a/b.txt"), hub.file("c.txt", bytes(70_000)))
        for query in ("?create_pr=1", ""):
            yield Request("POST", f"{api}/commit/main{query}", commit, mutations.spoiled_lines)
        yield asks("POST", batch, {**upload, "operation": "download"})
        yield asks("POST", f"/{repo}.git/info/lfs/verify", name)
        yield from self._xet(repo)
        yield from self._files()

        sample = {"path": "d.txt", "size": 3, "sample": "eHh4"}
        yield asks("POST", f"{api}/preupload/main", {"files": [sample, {"path": "w.bin", "size": 10**7}]})
        yield asks("POST", f"{api}/preupload/main?create_pr=1", {"files": [sample], "gitIgnore": "a/**\n!b[0-9]\n"})
        yield asks("POST", f"{api}/paths-info/main", {"paths": ["a", "a/b.txt"], "expand": True}, headers=JSON)
        form = urlencode({"paths": ["a", "w.bin"], "expand": "true"}, doseq=True).encode()
        yield Request("POST", f"{api}/paths-info/main", form, mutations.spoiled_bytes)
        yield asks("PUT", f"{api}/settings", {"visibility": "public", "gated": "manual"})
        yield asks("POST", f"{api}/branch/dev", {"startingPoint": "main"})
        yield asks("POST", f"{api}/tag/main", {"tag": "v1", "message": "m"})
        yield asks("POST", f"{api}/super-squash/dev", {"message": "m"})
        yield asks("POST", f"{api}/duplicate", {"repository": "sec/copy", "private": True})
        source, target = hub.create("source"), hub.create("target")
        files = {"target": {"type": "model", "name": target}, "files": [{"sha256": name["oid"]}]}
        yield asks("POST", f"{api}/lfs-files/duplicate", files)
        hub.commit(source, large)
        doomed = {"deletions": {"sha": [name["oid"]], "rewriteHistory": True}}
        yield asks("POST", f"/api/models/{source}/lfs-files/batch", doomed)
        space = {"name": "new", "organization": "sec", "type": "space"}
        yield asks("POST", "/api/repos/create", {**space, "sdk": "static"})
        yield asks("DELETE", "/api/repos/delete", space)
        yield asks("POST", "/api/repos/move", {"fromRepo": target, "toRepo": "sec/moved", "type": "model"})
        yield from self._talk(f"{api}/discussions")
        yield from self._collection(repo)
        yield asks("POST", "/api/validate-yaml", {"content": CARD, "repoType": "dataset"})

    def _xet(self, repo: str) -> Iterator[Request]:
        sender = Sender(self.hub, repo)
        small, long = xorb_of(random.Random(1).randbytes(30_000), 3000), Xorb([b"x" * 200_000, b"y", b"z" * 9])
        for xorb in (small, long):
            path = f"{sender.store}/v1/xorbs/default/{xorb.name}"
            yield Request("POST", path, xorb.body, mutations.spoiled_bytes, headers=sender.headers)
        for segments in (
            [small.segment(0, 3), small.segment(5, 9)],
            [long.segment(), small.segment(), long.segment(1)],
        ):
            path = f"{sender.store}/v1/shards"
            yield Request("POST", path, shard(segments), mutations.spoiled_bytes, headers=sender.headers)

    def _files(self) -> Iterator[Request]:
        """Files that are read for pages and listings; each is committed, and its page looked at."""
        config = {"architectures": ["LlamaForCausalLM"], "model_type": "llama"}
        for number, (path, data, spoil) in enumerate(
            (
                ("README.md", CARD.encode(), mutations.spoiled_text),
                ("rows.parquet", table(), mutations.spoiled_end),
                ("rows.jsonl", b'{"a": 1, "b": ["x"]}\n{"a": null, "b": {"c": 2}}\n', mutations.spoiled_lines),
                ("rows.csv", b'a,b\n1,"x\ny"\n2,\n', mutations.spoiled_bytes),
                ("config.json", json.dumps(config).encode(), mutations.spoiled_json),
            )
        ):
            repo = self.hub.create(f"rows{number}", type="dataset")

            def wrap(spoiled: bytes, path: str = path) -> bytes:
                return self.hub.commit_body(self.hub.file(path, spoiled))

            yield Request("POST", f"/api/datasets/{repo}/commit/main", data, spoil, wrap, page=f"/datasets/{repo}")

    def _talk(self, path: str) -> Iterator[Request]:
        yield asks("POST", path, {"title": "t", "description": "*d*", "pullRequest": False})
        yield asks("POST", path, {"title": "t", "description": "d", "pullRequest": True})
        event = json.loads(self.hub.request("GET", f"{path}/2")[2])["events"][0]["id"]
        yield asks("POST", f"{path}/2/comment", {"comment": "see [this](x)"})
        yield asks("POST", f"{path}/2/comment/{event}/edit", {"content": "<b>other</b>"})
        yield asks("POST", f"{path}/2/title", {"title": "other"})
        yield asks("POST", f"{path}/2/status", {"status": "closed", "comment": "done"})
        yield asks("POST", f"{path}/1/merge", {"comment": "good"})

    def _collection(self, repo: str) -> Iterator[Request]:
        new = asks(
            "POST", "/api/collections", {"title": "c", "namespace": "sec", "description": "d", "private": False}
        )
        yield new
        slug = json.loads(self.hub.request("GET", "/api/collections?owner=sec")[2])[0]["slug"]
        path = f"/api/collections/{slug}"
        yield asks("POST", f"{path}/items", {"item": {"type": "model", "id": repo}, "note": "n"})
        item = json.loads(self.hub.request("GET", path)[2])["items"][0]["_id"]
        yield asks("PATCH", f"{path}/items/{item}", {"note": "m", "position": 0})
        yield asks("PATCH", path, {"title": "d", "theme": "blue", "position": 1, "private": True})


def asks(method: str, path: str, body: dict, headers: dict[str, str] | None = None) -> Request:
    return Request(method, path, json.dumps(body).encode(), mutations.spoiled_json, headers=headers or {})


def table() -> bytes:
    """A small Parquet file of several types and encodings."""
    columns = {
        "number": pa.array([1, None, 3]),
        "word": pa.array(["a", "b", "a"]).dictionary_encode(),
        "list": pa.array([[1.5], [], None]),
        "nested": pa.array([{"a": [{"b": "c"}]}] * 3),
        "bytes": pa.array([b"a", b"\xff", None]),
    }
    file = io.BytesIO()
    pq.write_table(pa.table(columns), file, compression="zstd")
    return file.getvalue()
