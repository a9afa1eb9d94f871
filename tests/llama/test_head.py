"""A head that is read in parts says what it says whole, and no larger tensor is made on the way."""

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from transformers import (
    CohereConfig,
    CohereForCausalLM,
    Gemma2Config,
    Gemma2ForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
)

from hfdistill.llama import Passage, head
from hfdistill.ppo.actor_critic import read_policy


SHAPE = {
    "vocab_size": 300,
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 8,
    "max_position_embeddings": 64,
    "pad_token_id": 0,
}
FAMILIES = {
    "llama": lambda: LlamaForCausalLM(LlamaConfig(**SHAPE)),
    "llama, tied": lambda: LlamaForCausalLM(LlamaConfig(**SHAPE, tie_word_embeddings=True)),
    "gemma2": lambda: Gemma2ForCausalLM(Gemma2Config(**SHAPE, final_logit_softcapping=0.5)),  # caps its logits
    "cohere": lambda: CohereForCausalLM(CohereConfig(**SHAPE, logit_scale=0.25)),  # and this scales them
}
LENGTHS = [(6, 20), (3, 17), (9, 12), (2, 5)]


class LargestTensor(TorchDispatchMode):
    """Elements of the largest tensor that any operation makes."""

    elements = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        made = func(*args, **(kwargs or {}))
        sizes = [leaf.numel() for leaf in tree_leaves(made) if isinstance(leaf, torch.Tensor)]
        self.elements = max([self.elements, *sizes])
        return made


@pytest.fixture(params=FAMILIES)
def model(request):
    torch.manual_seed(0)
    model = FAMILIES[request.param]().eval()
    # Logits large enough that a cap and a scale show.
    model.get_output_embeddings().weight.data.mul_(30)
    return model


def passage():
    generator = torch.Generator().manual_seed(1)
    rows = [torch.randint(1, 300, (prompt + response,), generator=generator).tolist() for prompt, response in LENGTHS]
    return Passage.of_responses(rows, [prompt for prompt, _ in LENGTHS], 0, torch.device("cpu"))


def read(model):
    model.zero_grad()
    asked = passage()
    log_probs, entropy, _ = read_policy(model, asked, 0.7, with_entropy=True)
    real = torch.arange(log_probs.shape[1]) < torch.tensor([response for _, response in LENGTHS])[:, None]
    (log_probs * real * torch.linspace(-1, 1, log_probs.numel()).view_as(log_probs)).sum().backward()
    return log_probs.detach(), entropy, {name: p.grad for name, p in model.named_parameters()}


@pytest.mark.parametrize("kept", [0, 2**28], ids=["anew", "kept"])
def test_parts_say_what_the_whole_says(monkeypatch, model, kept):
    log_probs, entropy, gradients = read(model)
    logits = model(input_ids=passage().input_ids).logits / 0.7
    exact = logits.log_softmax(-1).gather(-1, passage().next_ids[..., None])[..., 0].gather(1, passage().positions)
    torch.testing.assert_close(log_probs, exact)
    monkeypatch.setattr(head, "LOGITS_AT_ONCE", 7 * 300)
    monkeypatch.setattr(head, "LOGITS_KEPT", kept)
    in_parts = read(model)
    torch.testing.assert_close(in_parts[0], log_probs, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(in_parts[1], entropy, atol=1e-5, rtol=1e-5)
    for name, gradient in gradients.items():
        torch.testing.assert_close(in_parts[2][name], gradient, atol=1e-5, rtol=1e-4)
    with torch.no_grad():
        again = read_policy(model, passage(), 0.7)[0]
    assert torch.equal(again, in_parts[0]), "with a gradient or without, to the last bit"


def test_no_tensor_is_larger_than_a_part(monkeypatch, model):
    with LargestTensor() as whole:
        read(model)
    assert whole.elements == 54 * 300
    monkeypatch.setattr(head, "LOGITS_AT_ONCE", 10 * 300)
    monkeypatch.setattr(head, "LOGITS_KEPT", 0)
    with LargestTensor() as parts:
        read(model)
    # The head itself has 16 x 300, and what attention needs 5,000.
    assert parts.elements <= 5000
