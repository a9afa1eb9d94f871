"""The hashes of Xet: of a chunk, of a pack of chunks (a xorb), of a file, of a file's segment.

Xorbs and files are trees over their chunks. Keys, text of a node and cuts between nodes are the protocol's:
https://huggingface.co/docs/xet/hashing
"""

from array import array

import numpy as np
from blake3 import blake3


CHUNK_KEY = bytes.fromhex("6697f5775b9550de3135cbaca597181c9de421109beb2b58b4d0b04b93adf229")
NODE_KEY = bytes.fromhex("017ec5c7a5472996fd946666b48a02e65ddd536f37c76dd2f86352e64a53713f")
SEGMENT_KEY = bytes.fromhex("7f1857d6ce56ed66127ff913e7a5c3f3a4cd26d5b5db49e64124987f28fb94c3")
# The salt of files' hashes; deployments that keep files apart by it use another one.
SALT = bytes(32)
# A node has as many children as it takes to meet one whose hash is divisible by this, at least 3 and at most 9.
DIVISOR, FEWEST, MOST = 4, 3, 9
# Chunks whose nodes are made at once.
BLOCK = 8192

# A hash is four words, and its text is theirs: 16 digits each.
HASH = np.dtype("(4,)<u8")


def hash_text(data: bytes) -> str:
    """The text form of a hash."""
    return np.frombuffer(data, "<u8").astype(">u8").tobytes().hex()


def chunk_hash(content: bytes | memoryview) -> bytes:
    return blake3(content, key=CHUNK_KEY).digest()


def segment_hash(chunks: np.ndarray) -> bytes:
    """What a shard says of a run of chunks, so that only who has them can name them.

    Args:
        chunks (`np.ndarray`):
            Hashes of the chunks, `(chunks, 4)`.
    """
    return blake3(chunks.tobytes(), key=SEGMENT_KEY).digest()


class ChunkTree:
    """The tree over the chunks of a xorb or a file, which come in turn: of a million it holds some thousand."""

    def __init__(self) -> None:
        self._hashes, self._sizes, self._waiting = np.empty(BLOCK, HASH), np.empty(BLOCK, np.int64), 0
        # Of each level the children whose node may still grow.
        self._open: list[tuple[np.ndarray, np.ndarray]] = []

    def add(self, hashes: np.ndarray, sizes: np.ndarray) -> None:
        """Takes in the hashes `(chunks, 4)` and the sizes `(chunks,)` of further chunks."""
        while count := min(len(sizes), BLOCK - self._waiting):
            end = self._waiting + count
            self._hashes[self._waiting : end], self._sizes[self._waiting : end] = hashes[:count], sizes[:count]
            self._waiting = end % BLOCK
            if end == BLOCK:
                self._grow(0, self._hashes, self._sizes)
            hashes, sizes = hashes[count:], sizes[count:]

    def digest(self) -> bytes:
        """The hash at the root, once all chunks have come; of none it is 0."""
        if self._waiting:
            self._grow(0, self._hashes[: self._waiting], self._sizes[: self._waiting])
        if not self._open:
            return bytes(HASH.itemsize)
        level = 0
        while level + 1 < len(self._open) or len(self._open[level][1]) > 1:
            self._grow(level + 1, *_nodes(*self._open[level], array("q", [0])))
            level += 1
        return self._open[level][0].tobytes()

    def _grow(self, level: int, hashes: np.ndarray, sizes: np.ndarray) -> None:
        if level == len(self._open):
            self._open.append((hashes[:0], sizes[:0]))
        hashes, sizes = map(np.concatenate, zip(self._open[level], (hashes, sizes), strict=True))
        starts = _node_starts(hashes[:, 3] % DIVISOR == 0)
        last = starts.pop()
        self._open[level] = hashes[last:].copy(), sizes[last:].copy()
        if starts:
            self._grow(level + 1, *_nodes(hashes[:last], sizes[:last], starts))


def file_hash(tree: ChunkTree) -> bytes:
    """A file's hash, of the tree over its chunks."""
    root = tree.digest()
    return blake3(root, key=SALT).digest() if any(root) else root


def xorb_hash(chunks: np.ndarray, sizes: np.ndarray) -> bytes:
    """A xorb's hash, of the hashes `(chunks, 4)` and the sizes `(chunks,)` of its chunks."""
    tree = ChunkTree()
    tree.add(chunks, sizes)
    return tree.digest()


def _nodes(hashes: np.ndarray, sizes: np.ndarray, starts: array) -> tuple[np.ndarray, np.ndarray]:
    """The hashes and the sizes of the nodes that start there."""
    ends = (*starts[1:], len(sizes))
    nodes = [_node(hashes[start:end], sizes[start:end]) for start, end in zip(starts, ends, strict=True)]
    return np.frombuffer(b"".join(nodes), HASH), np.add.reduceat(sizes, starts)


def _node(hashes: np.ndarray, sizes: np.ndarray) -> bytes:
    digits = hashes.astype(">u8").tobytes().hex()
    lines = (f"{digits[64 * index : 64 * index + 64]} : {size}\n" for index, size in enumerate(sizes.tolist()))
    return blake3("".join(lines).encode(), key=NODE_KEY).digest()


def _node_starts(last: np.ndarray) -> array:
    """Where nodes start; `last` says of each child whether a node may end with it."""
    count = len(last)
    candidates = memoryview(np.append(np.flatnonzero(last), count))
    starts, start, following = array("q"), 0, 0
    while start < count:
        starts.append(start)
        while candidates[following] < min(start + FEWEST - 1, count):
            following += 1
        start = min(candidates[following] + 1, start + MOST, count)
    return starts
