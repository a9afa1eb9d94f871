"""Responses to a list of prompts."""

import dataclasses
from collections.abc import Callable
from contextlib import contextmanager

import torch

from ..errors import HFDistillError
from ..llama import masked_attention
from .loop import DecodeLoop, Row
from .sampling import Generated, Sampling, row_seeds
from .stopping import StopStrings


def generate(
    model,
    prompts: list[list[int]],
    sampling: Sampling | list[Sampling],
    *,
    eos_token_id: int | list[int],
    pad_token_id: int,
    batch_size: int = 256,
    stop: StopStrings | Callable[[list[int]], bool] | None = None,
    log_probs: bool = False,
) -> list[Generated]:
    """Responses to `prompts`, in their order. Longer prompts go first, finished rows make room for waiting ones at
    once, and neither `model.generation_config` nor dropout has a say.

    Under autocast weights are cast once, trained ones or not: the copies are there until the responses are, 2 bytes a
    weight in bf16. A model whose attention is a kernel without masks of our own (`flash_attention_2`) generates by
    sdpa, or eager where it knows no sdpa, on the same weights.

    Args:
        model: a decoder-only `PreTrainedModel`; its mode is what it was afterwards.
        prompts (`list[list[int]]`): tokens, at least one each.
        sampling (`Sampling` or `list[Sampling]`): for all rows, or one a row. One with a seed for all gives each row a
            seed of its own ([`row_seeds`]).
        eos_token_id (`int` or `list[int]`): what ends a response.
        pad_token_id (`int`): fills up prompts.
        batch_size (`int`, *optional*, defaults to 256): the most rows at a time.
        stop (`StopStrings` or `Callable`, *optional*): given a response's tokens, says whether it ends.
        log_probs (`bool`, *optional*, defaults to `False`): say what each token was drawn with.

    Returns:
        `list[Generated]`: one a prompt.
    """
    settings = _settings(sampling, len(prompts))
    waiting = sorted(range(len(prompts)), key=lambda index: len(prompts[index]))
    results: list[Generated | None] = [None] * len(prompts)
    if not prompts:
        return []
    rows = min(batch_size, len(prompts))
    # A joining group costs a forward pass of its own, so a few places are let free before they are filled again.
    worthwhile = max(1, rows // 4)
    with _evaluating(model), masked_attention(model), _cast_once(model), torch.no_grad():
        loop = DecodeLoop(model, eos_token_id=eos_token_id, pad_token_id=pad_token_id, max_rows=rows)
        while waiting or loop.rows:
            if waiting and loop.free >= min(worthwhile, len(waiting)):
                joining = [waiting.pop() for _ in range(min(loop.free, len(waiting)))]
                loop.add([Row(prompts[index], settings[index], stop, log_probs, tag=index) for index in joining])
            for row in loop.step():
                if row.finish_reason == "failed":
                    raise HFDistillError(
                        f"the model's scores for prompt {row.tag} are not numbers; its weights are probably not either"
                    )
                results[row.tag] = row.generated()
    return results


def _settings(sampling: Sampling | list[Sampling], rows: int) -> list[Sampling]:
    if isinstance(sampling, Sampling):
        if sampling.temperature == 0:
            return [dataclasses.replace(sampling, seed=0)] * rows
        seed = sampling.seed if sampling.seed is not None else _fresh_seeds(1)[0]
        return [dataclasses.replace(sampling, seed=row_seed) for row_seed in row_seeds(seed, rows)]
    if len(sampling) != rows:
        raise HFDistillError(f"{len(sampling)} sampling settings for {rows} prompts; give one, or one a prompt")
    fresh = _fresh_seeds(rows)
    return [
        setting if setting.seed is not None else dataclasses.replace(setting, seed=fresh[row])
        for row, setting in enumerate(sampling)
    ]


def _fresh_seeds(count: int) -> list[int]:
    """From torch's global generator, so that `transformers.set_seed` rules them."""
    return torch.randint(2**62, (count,)).tolist()


@contextmanager
def _evaluating(model):
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        yield
    finally:
        for module, training in modes.items():
            module.training = training


@contextmanager
def _cast_once(model):
    """Autocast keeps what it casts of weights that require a gradient, and casts others anew at every step."""
    device = model.device.type
    if not torch.is_autocast_enabled(device):
        yield
        return
    frozen = [
        parameter
        for parameter in model.parameters()
        if parameter.dtype == torch.float32 and not parameter.requires_grad
    ]
    for parameter in frozen:
        parameter.requires_grad_(True)
    try:
        yield
    finally:
        for parameter in frozen:
            parameter.requires_grad_(False)
        # What was cast without a gradient must not serve a pass with one.
        torch.clear_autocast_cache()
