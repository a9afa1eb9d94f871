"""What strangers send in `benchmarks/hub.py`: little, or no more than is allowed, that stands for much."""

import base64
import io
import json
import re
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq

from hfdistill.servers.hub.xet import HAS_SHA256, HAS_VERIFICATION, MAX_CHUNK, MAX_CHUNKS, MAX_RUNS, SHARD_TAG
from hfdistill.servers.hub.xet_hashes import HASH, ChunkTree, chunk_hash, file_hash, hash_text, segment_hash, xorb_hash


# Looks at the processes that read, a second.
LOOKS = 50
# Megabytes of a process that reads for the server: what it takes to begin, and its bound on a job.
READER = 250


@dataclass
class Peak:
    """Megabytes at most of a server, as the kernel counts them, and of any process that it started, as it was seen."""

    server: float = 0.0
    reader: float = 0.0


@contextmanager
def peak_of(pid: int) -> Iterator[Peak]:
    peak, server, over = Peak(), psutil.Process(pid), threading.Event()
    Path(f"/proc/{pid}/clear_refs").write_text("5")

    def look() -> None:
        for child in server.children():
            with suppress(psutil.NoSuchProcess):  # it went over a bound
                peak.reader = max(peak.reader, child.memory_info().rss / 1e6)

    def watch() -> None:
        while not over.wait(1 / LOOKS):
            look()

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield peak
    finally:
        over.set()
        thread.join()
        look()
        peak.server = peak_memory(pid)


def peak_memory(pid: int) -> float:
    """Megabytes that a process held at most since it began or since this was last set back."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+)", status)[1]) * 1024 / 1e6


class Stranger:
    """Has a token that may write, and sends.

    Args:
        host (`str`):
            Address and port of the Hub.
        user, token (`str`, *optional*):
            Where the Hub is not open.
    """

    def __init__(self, host: str, user: str = "bench", token: str = "any"):
        self.host, self.repo = host, f"{user}/hostile"
        login = {"Authorization": f"Bearer {token}"}
        new = {"name": "hostile", "organization": user, "type": "dataset"}
        self._send("POST", "/api/repos/create", new, login)
        token = json.loads(self._send("GET", f"/api/datasets/{self.repo}/xet-write-token/main", headers=login))
        self.store = token["casUrl"].partition(host)[2]
        self.headers = {"Authorization": f"Bearer {token['accessToken']}"}

    def inputs(self) -> Iterator[tuple[str, Callable[[], object]]]:
        """What each is, and what sends it."""
        yield "a README of 200,000 nested <div>", lambda: self._page("README.md", b"<div>" * 200_000)
        aliases = "".join(
            f"{b}: &{b} [{', '.join([f'*{a}'] * 30)}]\n" for a, b in zip("abcdef", "bcdefg", strict=True)
        )
        yield "a card of aliases of aliases", lambda: self._page("README.md", f"---\na: &a x\n{aliases}---\n".encode())
        yield "a Parquet file that stands for 800 MB", lambda: self._page("rows.parquet", bomb())
        yield "400,000 brackets as a row", lambda: self._page("rows.jsonl", b"[" * 400_000)
        yield "rows of 2.5 MB", lambda: self._page("rows.jsonl", (b'{"a": "' + b"y" * 2_500_000 + b'"}\n') * 3)
        content = b'{"key": "file", "value": {"path": "a", "encoding": "base64", "content": "'
        yield "a line of 300 MB in a commit", lambda: self._commit(content, *[b"QUFB" * 250_000] * 300)
        yield (
            "4 MB of empty objects in a commit",
            lambda: self._commit(b'{"key": "file", "value": [', b"{}," * 1_300_000),
        )
        yield "4 MB of JSON brackets", lambda: self._send("POST", "/api/repos/create", b"[" * 4_000_000)
        yield "a xorb of LZ4 that stands for 2 GB", self._lying_xorb
        yield "a shard of 131,072 runs, its sha256 wrong", lambda: self.lying_shard(8, MAX_RUNS)
        yield "a shard of 1,000,000 chunks, its sha256 wrong", lambda: self.lying_shard(MAX_CHUNKS, 104)

    def _send(self, method: str, path: str, body: object = None, headers: dict | None = None) -> bytes:
        connection = HTTPConnection(self.host, timeout=300)
        content = json.dumps(body).encode() if isinstance(body, dict) else body
        try:
            connection.request(method, path, content, headers or {})
            return connection.getresponse().read()
        except ConnectionError:  # refused before it was sent
            return b""
        finally:
            connection.close()

    def _commit(self, *line: bytes) -> None:
        header = json.dumps({"key": "header", "value": {"summary": "s"}}).encode() + b"\n"
        self._send("POST", f"/api/datasets/{self.repo}/commit/main", iter([header, *line]))

    def _page(self, path: str, data: bytes) -> None:
        value = {"path": path, "content": base64.b64encode(data).decode(), "encoding": "base64"}
        self._commit(json.dumps({"key": "file", "value": value}).encode())
        self._send("GET", f"/datasets/{self.repo}", headers={"Accept": "text/html"})

    def _lying_xorb(self) -> None:
        packed = pa.Codec("lz4").compress(bytes(2 * 1000**3), asbytes=True)
        body = b"\0" + len(packed).to_bytes(3, "little") + b"\1" + MAX_CHUNK.to_bytes(3, "little") + packed
        self._send("POST", f"{self.store}/v1/xorbs/default/{'0' * 64}", body, self.headers)

    def lying_shard(self, length: int, count: int) -> None:
        """A file of `count` runs of `length` small chunks each, whose hashes are all right but for its sha256."""
        chunks = [struct.pack("<H", number) for number in range(MAX_CHUNKS)]
        hashes = np.frombuffer(b"".join(map(chunk_hash, chunks)), HASH)
        name = xorb_hash(hashes, np.full(len(chunks), 2))
        body = b"".join(b"\0\2\0\0\0\2\0\0" + chunk for chunk in chunks)
        self._send("POST", f"{self.store}/v1/xorbs/default/{hash_text(name)}", body, self.headers)
        starts = np.arange(count) * 2 * length % (len(chunks) - length + 1)
        order = (starts[:, None] + np.arange(length)).ravel()
        tree = ChunkTree()
        tree.add(hashes[order], np.full(len(order), 2))
        flags = HAS_VERIFICATION | HAS_SHA256
        runs = b"".join(name + struct.pack("<4I", 0, 2 * length, start, start + length) for start in starts.tolist())
        proofs = {start: segment_hash(hashes[start : start + length]) + bytes(16) for start in set(starts.tolist())}
        shard = SHARD_TAG.ljust(48, b"\0") + file_hash(tree) + struct.pack("<IIQ", flags, count, 0) + runs
        shard += b"".join(proofs[start] for start in starts.tolist()) + bytes(48) + (b"\xff" * 32 + bytes(16)) * 2
        self._send("POST", f"{self.store}/v1/shards", shard, self.headers)


def bomb() -> bytes:
    """A few kilobytes of Parquet: one long word, named 40 times."""
    words = pa.DictionaryArray.from_arrays(pa.array([0] * 40, pa.int32()), pa.array(["x" * 20_000_000]))
    file = io.BytesIO()
    pq.write_table(pa.table({"word": words}), file, compression="zstd", store_schema=False, write_statistics=False)
    return file.getvalue()
