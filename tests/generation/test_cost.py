"""What generation costs: memory that rows need and no more."""

import pytest
import torch

from hfdistill.generation import DecodeLoop, Row, Sampling

from ..families import FAMILIES


@pytest.mark.parametrize(
    ("family", "layers"),
    [("llama3", lambda forward: forward.layers), ("qwen2", lambda forward: forward.cache.layers)],
    ids=["written out", "the model's own"],
)
def test_one_long_request_among_many_places_takes_its_own_room_and_gives_it_back(family, layers):
    model = FAMILIES[family](60, max_position_embeddings=1024)
    loop = DecodeLoop(model, eos_token_id=[], pad_token_id=0, max_rows=128)

    def positions():
        """Rows times positions that the cache has room for."""
        keys = layers(loop.forward)[0].keys
        return keys.numel() // (model.config.num_key_value_heads * keys.shape[-1])

    with torch.inference_mode():
        loop.add([Row([5] * 900, Sampling(2))])
        loop.step()
        assert positions() <= 8 * 960
        # Others join: everybody has as much room as the longest, for as long as it is there.
        loop.add([Row([5, 6 + row], Sampling(30)) for row in range(20)])
        while len(loop.rows) == 21:
            loop.step()
        loop.step()
        assert positions() <= 25 * 64
        while loop.rows:
            loop.step()
        assert positions() <= 8 * 64
