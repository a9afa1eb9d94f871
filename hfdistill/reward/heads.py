"""The heads of an ensemble: what is published of them, and how far they are apart.

A head is a row of weights and no bias, so the mean of what several say is what their mean says. A published model
therefore has one head, their mean, as every reader expects; the single ones lie beside it in a file of their own.
"""

import json
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from transformers.utils import cached_file


HEADS = "ensemble.safetensors"
SCORE = "score.weight"


def publish_heads(folder: Path, temperature: float = 1.0) -> None:
    """Make a saved model what is published: one head, the mean of those that were trained, over a temperature, so that
    sigmoid(score) is a probability. The single heads of an ensemble go to `ensemble.safetensors`.
    """
    path = folder / "model.safetensors"
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        path = folder / json.loads(index.read_text(encoding="utf-8"))["weight_map"][SCORE]
    with safe_open(path, "pt") as file:
        metadata = file.metadata()
    weights = load_file(path)
    if temperature == 1 and len(weights[SCORE]) == 1:
        return
    heads = weights[SCORE] / temperature
    if len(heads) > 1:
        save_file({SCORE: heads}, folder / HEADS, metadata=metadata)
    weights[SCORE] = heads.mean(0, keepdim=True)
    save_file(weights, path, metadata=metadata)


def load_heads(model_path: str, revision: str | None = None) -> torch.Tensor | None:
    """The heads of a published ensemble in a folder or a Hub repository, `(heads, hidden_size)`; `None` of a model
    with a single head.
    """
    # Without a network a repository on this disk holds what it was fetched with.
    quiet = {"_raise_exceptions_for_missing_entries": False, "_raise_exceptions_for_connection_errors": False}
    found = cached_file(model_path, HEADS, revision=revision, **quiet)
    return None if found is None else load_file(found)[SCORE]


def spread(hidden_states: torch.Tensor, heads: torch.Tensor) -> torch.Tensor:
    """Standard deviation of what the heads say, `(…,)`, of states `(…, hidden_size)`; computed in fp32."""
    with torch.autocast(hidden_states.device.type, enabled=False):
        said = torch.nn.functional.linear(hidden_states.float(), heads.float())
        return said.std(-1, correction=0)
