"""What a checkpoint holds beside the Trainer's own files, and how it is read back.

The policy lies at the top, where `from_pretrained` finds it, and the value model in a folder of its own.
"""

from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, PreTrainedModel

from .actor_critic import ActorCritic


VALUE_MODEL = "value_model"
VALUE_HEAD = "value_head.safetensors"
# The trainer's own state: plain values, lists and tensors.
STATE = "ppo_state.pt"


def save_models(model: ActorCritic, folder: str | Path, state_dict: dict[str, torch.Tensor] | None) -> None:
    """Save policy and value; `state_dict` has the whole weights where the model holds only a shard of them."""
    folder = Path(folder)
    policy = _part(state_dict, "policy.")
    if policy is not None and isinstance(model.policy, PreTrainedModel):
        # Gathered weights are no longer tied.
        policy = {name: value for name, value in policy.items() if name not in model.policy.all_tied_weights_keys}
    model.policy.save_pretrained(folder, state_dict=policy)
    if model.value_model is not None:
        model.value_model.save_pretrained(folder / VALUE_MODEL, state_dict=_part(state_dict, "value_model."))
    else:
        save_file(_part(state_dict, "value_head.") or model.value_head.state_dict(), folder / VALUE_HEAD)


def load_models(model: ActorCritic, folder: str | Path) -> None:
    """Load what [`save_models`] saved into unsharded models."""
    folder = Path(folder)
    if isinstance(model.policy, PreTrainedModel):
        saved = AutoModelForCausalLM.from_pretrained(folder, dtype=model.policy.dtype)
        model.policy.load_state_dict(saved.state_dict())
    else:
        from peft import load_peft_weights, set_peft_model_state_dict

        set_peft_model_state_dict(model.policy, load_peft_weights(str(folder), device="cpu"))
    if model.value_model is not None:
        saved = AutoModelForSequenceClassification.from_pretrained(folder / VALUE_MODEL, dtype=model.value_model.dtype)
        model.value_model.load_state_dict(saved.state_dict())
    else:
        model.value_head.load_state_dict(load_file(folder / VALUE_HEAD))


def _part(state_dict: dict[str, torch.Tensor] | None, prefix: str) -> dict[str, torch.Tensor] | None:
    if state_dict is None:
        return None
    return {name.removeprefix(prefix): value for name, value in state_dict.items() if name.startswith(prefix)}
