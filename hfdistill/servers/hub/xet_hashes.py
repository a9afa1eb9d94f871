"""The hashes of Xet: of a chunk, of a pack of chunks (a xorb), of a file, of a file's segment.

Xorbs and files are trees over their chunks. Keys, text of a node and cuts between nodes are the protocol's:
https://huggingface.co/docs/xet/hashing
"""

from array import array
from itertools import chain, pairwise

import numpy as np
from blake3 import blake3


CHUNK_KEY = bytes.fromhex("6697f5775b9550de3135cbaca597181c9de421109beb2b58b4d0b04b93adf229")
NODE_KEY = bytes.fromhex("017ec5c7a5472996fd946666b48a02e65ddd536f37c76dd2f86352e64a53713f")
SEGMENT_KEY = bytes.fromhex("7f1857d6ce56ed66127ff913e7a5c3f3a4cd26d5b5db49e64124987f28fb94c3")
# The salt of files' hashes; deployments that keep files apart by it use another one.
SALT = bytes(32)
# A node has as many children as it takes to meet one whose hash is divisible by this, at least 3 and at most 9.
DIVISOR, FEWEST, MOST = 4, 3, 9

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


def file_hash(chunks: np.ndarray, sizes: np.ndarray) -> bytes:
    """A file's hash, of the hashes `(chunks, 4)` and the sizes `(chunks,)` of its chunks."""
    return blake3(xorb_hash(chunks, sizes), key=SALT).digest() if len(sizes) else bytes(32)


def xorb_hash(chunks: np.ndarray, sizes: np.ndarray) -> bytes:
    """A xorb's hash, of the hashes `(chunks, 4)` and the sizes `(chunks,)` of its chunks, at least one."""
    while len(sizes) > 1:
        starts = _node_starts(chunks[:, 3] % DIVISOR == 0)
        nodes = bytearray()
        for start, end in pairwise(chain(starts, [len(sizes)])):
            nodes += _node(chunks[start:end], sizes[start:end])
        chunks = np.frombuffer(nodes, HASH)
        sizes = np.add.reduceat(sizes, starts, dtype=np.int64)
    return chunks.tobytes()


def _node(hashes: np.ndarray, sizes: np.ndarray) -> bytes:
    digits = hashes.astype(">u8").tobytes().hex()
    lines = (f"{digits[64 * index : 64 * index + 64]} : {size}\n" for index, size in enumerate(sizes.tolist()))
    return blake3("".join(lines).encode(), key=NODE_KEY).digest()


def _node_starts(last: np.ndarray) -> array:
    """Where nodes start; `last` says of each child whether a node may end with it."""
    count = len(last)
    # No lists, whose numbers would take more room than the hashes: a file may have a million chunks.
    candidates = memoryview(np.append(np.flatnonzero(last), count))
    starts, start, following = array("q"), 0, 0
    while start < count:
        starts.append(start)
        while candidates[following] < min(start + FEWEST - 1, count):
            following += 1
        start = min(candidates[following] + 1, start + MOST, count)
    return starts
