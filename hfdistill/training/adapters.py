"""Adapters: trained in place of a model's own weights, and merged into them for whoever loads the model."""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from pathlib import Path
from tempfile import mkdtemp
from typing import TYPE_CHECKING

from huggingface_hub import constants
from torch import nn
from transformers import AutoTokenizer, PreTrainedModel, set_seed

from ..errors import HFDistillError
from ..sections import AdapterConfig


if TYPE_CHECKING:
    from peft import PeftConfig, PeftModel

CAUSAL, SCALAR = "CAUSAL_LM", "SEQ_CLS"
# The name of the frozen copy of an adapter that a KL is measured to.
REFERENCE = "reference"
# First weights under which an adapter changes nothing yet, and leaves the model's own weights as they are.
NEUTRAL = (True, "gaussian")


def inner_model(model: nn.Module) -> PreTrainedModel:
    """The transformers model itself, with the adapters in its layers, if there are any."""
    return model if isinstance(model, PreTrainedModel) else model.get_base_model()


def lora_config(settings: AdapterConfig | None) -> "PeftConfig | None":
    """peft's configuration of the section `peft`; `None` where the configuration has none."""
    if settings is None:
        return None
    try:
        from peft import LoraConfig
    except ImportError as error:
        raise HFDistillError(
            "the configuration has a section 'peft', and peft is not installed: pip install 'hfdistill[peft]'"
        ) from error
    options = {**vars(settings)}
    if options["target_modules"] == ["all-linear"]:
        options["target_modules"] = "all-linear"
    return LoraConfig(**options)


def add_adapter(model: PreTrainedModel, config: "PeftConfig | None", seed: int, task: str = CAUSAL) -> nn.Module:
    """Put a new adapter into a model, whose own weights are frozen then; without a `config` it stays as it is.

    Args:
        model (`PreTrainedModel`): a causal language model, or a sequence classification model, whose head is trained
            beside the adapter.
        config (`PeftConfig`, *optional*): what kind of adapter.
        seed (`int`): decides its first weights.
        task (`str`, *optional*, defaults to `"CAUSAL_LM"`): peft's word for what the model does, else `"SEQ_CLS"`.

    Raises:
        [`~hfdistill.errors.HFDistillError`]: if the model has an adapter already, or this one does not fit into it.
    """
    if config is None:
        return model
    from peft import get_peft_model

    if not isinstance(model, PreTrainedModel):
        raise HFDistillError(
            "the model has an adapter, and peft_config asks for another one: leave peft_config out to train the one "
            "that is there, or give model.merge_and_unload()"
        )
    check_kind(config)
    config = deepcopy(config)
    config.task_type = task
    set_seed(seed)
    try:
        return get_peft_model(model, config)
    except ValueError as error:
        raise HFDistillError(
            f"the adapter does not fit into {type(model).__name__}: {' '.join(str(error).split())}"
        ) from error


def check_kind(config: "PeftConfig") -> None:
    """Refuse virtual tokens in front of a prompt: passes that call the base model directly would leave them out."""
    if config.is_prompt_learning:
        raise HFDistillError(
            f"the adapter is of type {config.peft_type.value}, which generation does not know: take one within the "
            "layers, as LoRA is"
        )


def check_trainable(model: nn.Module, role: str) -> None:
    """Refuse a model of which nothing would be trained."""
    if any(parameter.requires_grad for parameter in model.parameters()):
        return
    if isinstance(model, PreTrainedModel) and not model._hf_peft_config_loaded:
        raise HFDistillError(f"all weights of the {role} are frozen, nothing would be trained: requires_grad_(True)")
    raise HFDistillError(
        f"the adapter of the {role} is frozen, nothing would be trained: load it by "
        "peft.AutoPeftModelForCausalLM.from_pretrained(…, is_trainable=True)"
    )


def copy_as_reference(model: "PeftModel") -> None:
    """Keep the adapter as it is now under another name, frozen: the model's own weights are there once."""
    from peft import get_peft_model_state_dict, set_peft_model_state_dict

    if len(model.active_adapters) != 1:
        raise HFDistillError(
            f"the policy has the active adapters {', '.join(model.active_adapters)}: merge all but the one to train"
        )
    config = deepcopy(model.active_peft_config)
    config.inference_mode, config.init_lora_weights = True, True
    if REFERENCE in model.peft_config:
        model.delete_adapter(REFERENCE)
    model.add_adapter(REFERENCE, config)
    weights = get_peft_model_state_dict(model, adapter_name=model.active_adapter)
    set_peft_model_state_dict(model, weights, adapter_name=REFERENCE)
    model.set_requires_grad(REFERENCE, False)


@contextmanager
def as_reference(model: "PeftModel") -> Iterator[None]:
    """Let a model be what its training began with: its reference adapter is on, or, without one, no adapter."""
    if REFERENCE not in model.peft_config:
        with model.disable_adapter():
            yield
        return
    # Adapters are trained or not by whether they are on.
    trained, active = [parameter.requires_grad for parameter in model.parameters()], model.active_adapter
    model.set_adapter(REFERENCE, inference_mode=True)
    try:
        yield
    finally:
        model.set_adapter(active)
        for parameter, was_trained in zip(model.parameters(), trained, strict=True):
            parameter.requires_grad_(was_trained)


def merge_folder(folder: Path, digest: str) -> Path:
    """The plain model, tokenizer included, of an adapter's folder: made once, and kept in the cache of Hugging Face.

    Args:
        folder (`Path`): what peft saved; its `adapter_config.json` names the base, which is loaded by that name.
        digest (`str`): of its content.

    Raises:
        [`~hfdistill.errors.HFDistillError`]: if the base cannot be loaded, or the adapter does not fit it.
    """
    place = Path(constants.HF_HOME) / "hfdistill" / "merged" / digest
    if place.is_dir():
        return place
    name = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8")).get("base_model_name_or_path")
    try:
        from peft import AutoPeftModelForCausalLM

        adapted = AutoPeftModelForCausalLM.from_pretrained(folder, dtype="float32")
        check_kind(adapted.active_peft_config)
        model = adapted.merge_and_unload()
        tokenizer = AutoTokenizer.from_pretrained(folder if any(folder.glob("tokenizer*")) else name)
    except ImportError as error:
        raise HFDistillError(
            f"{folder} is an adapter, and peft is not installed: pip install 'hfdistill[peft]'"
        ) from error
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        raise HFDistillError(
            f"{folder} is an adapter of {name!r}, into which it cannot be merged: {' '.join(str(error).split())[:300]}"
        ) from error
    place.parent.mkdir(parents=True, exist_ok=True)
    being_made = Path(mkdtemp(dir=place.parent))
    model.save_pretrained(being_made)
    tokenizer.save_pretrained(being_made)
    try:
        being_made.rename(place)
    except OSError:
        if not place.is_dir():
            raise
        shutil.rmtree(being_made)  # another process was faster
    return place


def merged(model: nn.Module) -> PreTrainedModel:
    """A model with its adapter merged into a copy of its weights; one without an adapter is returned itself.

    The copy is in fp32: in bf16 what was learned would be rounded away.
    """
    return model if isinstance(model, PreTrainedModel) else deepcopy(model).float().merge_and_unload()
