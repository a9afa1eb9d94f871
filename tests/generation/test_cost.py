"""What generation costs: memory that rows need and no more, weights cast once, two transfers a step, no copies of
keys and values.
"""

from collections import Counter

import pytest
import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from hfdistill.generation import DecodeLoop, Row, Sampling, generate

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


class Operators(TorchDispatchMode):
    """Counts operators, and how often each weight of at least `size` numbers is cast."""

    def __init__(self, size=1000):
        super().__init__()
        self.size, self.seen, self.casts = size, Counter(), Counter()

    def __torch_dispatch__(self, operator, types, args=(), kwargs=None):
        name = operator.overloadpacket.__name__
        self.seen[name] += 1
        if name == "_to_copy" and args[0].dim() == 2 and args[0].numel() >= self.size:
            self.casts[args[0].data_ptr()] += 1
        return operator(*args, **(kwargs or {}))


@pytest.mark.parametrize("trained", [True, False])
def test_a_weight_is_cast_once_and_not_at_every_step(trained):
    model = FAMILIES["qwen2"](60).requires_grad_(trained)
    settings = [Sampling(12, 1.0, seed=row) for row in range(4)]
    with torch.autocast("cpu", torch.bfloat16), Operators() as counted:
        generate(model, [[5, 6, 7]] * 4, settings, eos_token_id=[], pad_token_id=0)
        # Nothing that was cast without a gradient is left for a pass with one.
        model.requires_grad_(True)(input_ids=torch.tensor([[5, 6]])).logits.sum().backward()
    projections = [layer.mlp.up_proj.weight for layer in model.model.layers]
    assert [counted.casts[weight.data_ptr()] for weight in projections] == [2, 2]
    assert all(weight.grad is not None for weight in projections)


def test_keys_are_kept_as_attention_reads_them():
    model = FAMILIES["qwen2"](60)
    loop = DecodeLoop(model, eos_token_id=[], pad_token_id=0, max_rows=4)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        loop.add([Row([5, 6, 7], Sampling(9)), Row([5, 6], Sampling(9))])
        loop.step()
    assert {store.dtype for layer in loop.forward.cache.layers for store in (layer.keys, layer.values)} == {
        torch.bfloat16
    }


class Transfers(TorchFunctionMode):
    """Counts what would go to another device or come from it, and what would wait for it."""

    WAITING = ("cpu", "numpy", "tolist", "item", "__bool__", "__int__", "__float__", "__index__", "nonzero")

    def __init__(self):
        super().__init__()
        self.seen = Counter()

    def __torch_function__(self, function, types, args=(), kwargs=None):
        name = function.__name__
        if name in ("to", "tensor") and any(isinstance(value, torch.device) for value in args):
            self.seen["to"] += 1
        if name in self.WAITING:
            self.seen[name] += 1
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize("temperature", [0.0, 1.0, 0.7])
@pytest.mark.parametrize("family", ["llama3", "qwen3", "gemma3"])
def test_a_step_tells_the_device_once_and_asks_it_once(family, temperature):
    model = FAMILIES[family](60)
    loop = DecodeLoop(model, eos_token_id=[], pad_token_id=0, max_rows=4)
    with torch.inference_mode():
        loop.add([Row([5, 6, 7], Sampling(9, temperature, seed=1)), Row([5, 6], Sampling(9, temperature, seed=2))])
        loop.step()
        with Transfers() as counted, Operators() as operators:
            loop.step()
    # What is on the host already is made an array of for nothing.
    assert counted.seen == {"to": 1, "cpu": 1, "numpy": 1}
    assert not operators.seen.keys() & {"_local_scalar_dense", "nonzero", "masked_select"}


def test_keys_of_grouped_heads_are_not_repeated():
    model = FAMILIES["qwen2"](60, num_attention_heads=8, num_key_value_heads=1)
    loop = DecodeLoop(model, eos_token_id=[], pad_token_id=0, max_rows=8)
    largest = 0

    class Sizes(TorchDispatchMode):
        def __torch_dispatch__(self, operator, types, args=(), kwargs=None):
            nonlocal largest
            result = operator(*args, **(kwargs or {}))
            if operator.overloadpacket.__name__ in ("clone", "expand", "repeat", "_unsafe_view"):
                largest = max(largest, result.numel())
            return result

    with torch.inference_mode():
        loop.add([Row([5 + row] * 60, Sampling(9)) for row in range(8)])
        loop.step()
        with Sizes():
            loop.step()
    assert largest < loop.forward.cache.layers[0].keys[:, :60].numel()
