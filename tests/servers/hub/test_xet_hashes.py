"""Trees over chunks that come in turn."""

from unittest import mock

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from hfdistill.servers.hub import xet_hashes
from hfdistill.servers.hub.xet_hashes import HASH, ChunkTree

from .xet_uploads import tree


# Last words by which a node ends often, seldom and never.
chunks = st.lists(st.tuples(st.sampled_from([4, 5, 6, 8]), st.integers(1, 2**17)), min_size=1, max_size=150)


@settings(max_examples=50, deadline=None)
@given(chunks, st.lists(st.integers(1, 20), min_size=1))
def test_chunks_that_come_in_turn(chunks: list[tuple[int, int]], steps: list[int]) -> None:
    hashes = np.array([(number, 0, 0, last) for number, (last, _) in enumerate(chunks)], "<u8")
    sizes = np.array([size for _, size in chunks])
    with mock.patch.object(xet_hashes, "BLOCK", 16):
        whole, start = ChunkTree(), 0
        while start < len(sizes):
            for step in steps:
                whole.add(hashes[start : start + step], sizes[start : start + step])
                start += step
        found = whole.digest()
    assert found == tree([(row.tobytes(), size) for row, size in zip(hashes, sizes.tolist(), strict=True)])


def test_no_chunk() -> None:
    assert ChunkTree().digest() == bytes(HASH.itemsize)
