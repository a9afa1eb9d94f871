"""Xorbs and shards as a client sends them; the hashes are worked out here, node by node, from the protocol's text."""

import hashlib
import json
import struct
from dataclasses import dataclass

from blake3 import blake3


def key(numbers: str) -> bytes:
    return bytes(map(int, numbers.split()))


CHUNK_KEY = key(
    "102 151 245 119 91 149 80 222 49 53 203 172 165 151 24 28 "
    "157 228 33 16 155 235 43 88 180 208 176 75 147 173 242 41"
)
NODE_KEY = key(
    "1 126 197 199 165 71 41 150 253 148 102 102 180 138 2 230 93 221 83 111 55 199 109 210 248 99 82 230 74 83 113 63"
)
SEGMENT_KEY = key(
    "127 24 87 214 206 86 237 102 18 127 249 19 231 165 195 243 "
    "164 205 38 213 181 219 73 230 65 36 152 127 40 251 148 195"
)
BOOKEND = b"\xff" * 32 + bytes(16)


def text(data: bytes) -> str:
    return "".join(f"{word:016x}" for word in struct.unpack("<4Q", data))


def words(text: str) -> bytes:
    return struct.pack("<4Q", *(int(text[i : i + 16], 16) for i in range(0, 64, 16)))


def chunk_hash(data: bytes) -> bytes:
    return blake3(data, key=CHUNK_KEY).digest()


def tree(nodes: list[tuple[bytes, int]]) -> bytes:
    while len(nodes) > 1:
        above, start = [], 0
        while start < len(nodes):
            end = start + 1
            while end < min(start + 9, len(nodes)) and (end < start + 3 or nodes[end - 1][0][24] % 4):
                end += 1
            lines = "".join(f"{text(digest)} : {size}\n" for digest, size in nodes[start:end])
            above.append((blake3(lines.encode(), key=NODE_KEY).digest(), sum(size for _, size in nodes[start:end])))
            start = end
        nodes = above
    return nodes[0][0]


def packed(data: bytes, scheme: int = 0, size: int | None = None) -> bytes:
    """A chunk as it stands in a xorb; `size` overrides what its header announces."""
    announced = len(data) if size is None else size
    return bytes([0]) + len(data).to_bytes(3, "little") + bytes([scheme]) + announced.to_bytes(3, "little") + data


@dataclass
class Xorb:
    chunks: list[bytes]

    @property
    def name(self) -> str:
        return text(tree([(chunk_hash(chunk), len(chunk)) for chunk in self.chunks]))

    @property
    def body(self) -> bytes:
        return b"".join(map(packed, self.chunks))

    def segment(self, start: int = 0, end: int | None = None) -> "Segment":
        return Segment(self, start, len(self.chunks) if end is None else end)


@dataclass
class Segment:
    xorb: Xorb
    start: int
    end: int

    @property
    def chunks(self) -> list[bytes]:
        return self.xorb.chunks[self.start : self.end]


def xorb_of(data: bytes, step: int = 65536) -> Xorb:
    return Xorb([data[start : start + step] for start in range(0, len(data), step)])


def content(segments: list[Segment]) -> bytes:
    return b"".join(chunk for segment in segments for chunk in segment.chunks)


def shard(segments: list[Segment], sha256: str | None = None, listed: list[Xorb] | None = None) -> bytes:
    """A shard of one file; it lists the xorbs that the file consists of, or those of `listed`."""
    chunks = [chunk for segment in segments for chunk in segment.chunks]
    digest = blake3(tree([(chunk_hash(chunk), len(chunk)) for chunk in chunks]), key=bytes(32)).digest()
    body = b"HFRepoMetaData\0".ljust(32, b"\x55") + struct.pack("<QQ", 2, 0)
    body += digest + struct.pack("<IIQ", 3 << 30, len(segments), 0)
    for segment in segments:
        size = sum(map(len, segment.chunks))
        body += words(segment.xorb.name) + struct.pack("<4I", 0, size, segment.start, segment.end)
    for segment in segments:
        hashes = b"".join(map(chunk_hash, segment.chunks))
        body += blake3(hashes, key=SEGMENT_KEY).digest() + bytes(16)
    body += words(sha256 or hashlib.sha256(b"".join(chunks)).hexdigest()) + bytes(16) + BOOKEND
    for xorb in listed if listed is not None else {id(segment.xorb): segment.xorb for segment in segments}.values():
        size = sum(map(len, xorb.chunks))
        body += words(xorb.name) + struct.pack("<4I", 0, len(xorb.chunks), size, len(xorb.body))
        position = 0
        for chunk in xorb.chunks:
            body += chunk_hash(chunk) + struct.pack("<4I", position, len(chunk), 0, 0)
            position += len(chunk)
    return body + BOOKEND


def large_file(path: str, data: bytes) -> dict:
    return {"key": "lfsFile", "value": {"path": path, "oid": hashlib.sha256(data).hexdigest(), "size": len(data)}}


def flipped(data: bytes, position: int) -> bytes:
    return data[:position] + bytes([data[position] ^ 1]) + data[position + 1 :]


class Sender:
    """Sends to a user's store of xorbs."""

    def __init__(self, hub, repo: str, token: str | None = None):
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        answer = json.loads(hub.request("GET", f"/api/models/{repo}/xet-write-token/main", headers=headers)[2])
        self.hub = hub
        self.store = answer["casUrl"].removeprefix(hub.url)
        self.headers = {"Authorization": f"Bearer {answer['accessToken']}"}

    def xorb(self, xorb: Xorb, name: str | None = None, body: bytes | None = None) -> tuple[int, str]:
        path = f"{self.store}/v1/xorbs/default/{xorb.name if name is None else name}"
        status, _, answer = self.hub.request("POST", path, xorb.body if body is None else body, self.headers)
        return status, answer.decode()

    def shard(self, body: bytes) -> tuple[int, str]:
        status, _, answer = self.hub.request("POST", f"{self.store}/v1/shards", body, self.headers)
        return status, answer.decode()
