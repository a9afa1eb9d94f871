"""What a checkpoint holds beside the Trainer's own files, and how it is read back.

The policy lies at the top, where `from_pretrained` finds it, and the value model in a folder of its own.
"""

from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, PreTrainedModel

from .actor_critic import ActorCritic


VALUE_MODEL = "value_model"
VALUE_HEAD = "value_head.safetensors"
# The trainer's own state: plain values, lists and tensors.
STATE = "ppo_state.pt"


def save_models(model: ActorCritic, folder: str | Path, state_dict: dict[str, torch.Tensor] | None) -> None:
    """Save policy and value; `state_dict` has the whole weights where the model holds only a shard of them."""
    folder = Path(folder)
    _save(model.policy, folder, _part(state_dict, "policy."))
    if model.value_model is not None:
        _save(model.value_model, folder / VALUE_MODEL, _part(state_dict, "value_model."))
    else:
        save_file(_part(state_dict, "value_head.") or model.value_head.state_dict(), folder / VALUE_HEAD)


def load_models(model: ActorCritic, folder: str | Path) -> None:
    """Load what [`save_models`] saved into unsharded models."""
    folder = Path(folder)
    _load(model.policy, folder, AutoModelForCausalLM)
    if model.value_model is not None:
        _load(model.value_model, folder / VALUE_MODEL, AutoModelForSequenceClassification)
    else:
        model.value_head.load_state_dict(load_file(folder / VALUE_HEAD))


def _save(model: nn.Module, folder: Path, state_dict: dict[str, torch.Tensor] | None) -> None:
    """Save a model, or of one with adapters the trained one alone."""
    if not isinstance(model, PreTrainedModel):
        model.save_pretrained(folder, state_dict=state_dict, selected_adapters=[model.active_adapter])
        return
    if state_dict is not None:
        # Gathered weights are no longer tied.
        state_dict = {name: value for name, value in state_dict.items() if name not in model.all_tied_weights_keys}
    model.save_pretrained(folder, state_dict=state_dict)


def _load(model: nn.Module, folder: Path, kind: type) -> None:
    if isinstance(model, PreTrainedModel):
        model.load_state_dict(kind.from_pretrained(folder, dtype=model.dtype).state_dict())
        return
    from peft import load_peft_weights, set_peft_model_state_dict

    name = model.active_adapter
    # peft gives adapters of another name a folder below.
    saved = load_peft_weights(str(folder if name == "default" else folder / name), device="cpu")
    set_peft_model_state_dict(model, saved, adapter_name=name)


def _part(state_dict: dict[str, torch.Tensor] | None, prefix: str) -> dict[str, torch.Tensor] | None:
    if state_dict is None:
        return None
    return {name.removeprefix(prefix): value for name, value in state_dict.items() if name.startswith(prefix)}
