"""What each stage takes of a device's memory and of the disk, counted before anything is loaded.

A model is made of its config alone, without weights (device "meta"), and asked what it has, keeps and remembers. All
figures are bytes, of one process, at the most: as if every prompt were the longest and no response ended early.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from ..errors import HFDistillError
from ..evaluation.config import EvaluateConfig
from ..llama import LOGITS_AT_ONCE, LOGITS_KEPT
from ..reward.rewards import needs_model
from ..sections import AdapterConfig
from ..training.adapters import add_adapter, lora_config


FLOAT = 4  # bytes of a weight, a gradient, a moment
HALF = 2  # of what is computed in bf16
# Under autocast norms and the sum that runs through the layers stay in float32: what is kept shrinks to this share.
SHARE_IN_BF16 = 0.6
PROCESS = 600e6  # Python with its libraries, or the context of a GPU
# A triple has the student's right and wrong response, and the teacher's.
RESPONSES_OF_A_TRIPLE = 3
COUNTED_TOKENS = 32  # of the row whose activations are counted

Settings = Mapping[str, Any]


class CountedModel:
    """What is counted of a causal language model. The head of a reward or value model, some thousand weights, is not.

    Args:
        config (`PreTrainedConfig`): the model's.
        peft ([`~hfdistill.sections.AdapterConfig`], *optional*): adapters that are trained instead of its weights.

    Attributes:
        parameters (`int`): weights, tied ones once, adapters apart.
        backbone (`int`): those without the head, as reward and value models have them.
        adapter (`int`), backbone_adapter (`int`): weights of the adapters in either; 0 without.
        vocabulary (`int`), hidden (`int`), layers (`int`): sizes.
        cached (`float`): numbers that generation remembers of a position.
    """

    def __init__(self, config: Any, peft: AdapterConfig | None = None):
        from accelerate import init_empty_weights
        from transformers import AutoModelForCausalLM

        with init_empty_weights(include_buffers=True):
            self.model = AutoModelForCausalLM.from_config(config).eval()
        text = config.get_text_config(decoder=True)
        self.vocabulary, self.hidden, self.layers = text.vocab_size, text.hidden_size, text.num_hidden_layers
        self.parameters = sum(weight.numel() for weight in self.model.parameters())
        self.backbone = sum(weight.numel() for weight in self.model.base_model.parameters())
        with init_empty_weights():
            add_adapter(self.model, lora_config(peft), seed=0)
        self.adapter = sum(weight.numel() for weight in self.model.parameters()) - self.parameters
        self.backbone_adapter = sum(weight.numel() for weight in self.model.base_model.parameters()) - self.backbone
        layers = self._read(8, use_cache=True).past_key_values.layers
        self.cached = sum(layer.keys.numel() + layer.values.numel() for layer in layers) / 8

    def activations(self, tokens: int, checkpointing: bool = False) -> float:
        """Bytes that the backward pass needs of a row of so many tokens, in float32.

        With `checkpointing` it needs what goes into each layer, and of one layer at a time the rest.
        """
        # What grows by the length, and by its square: that part only eager attention keeps.
        linear, square = self._kept
        whole = tokens * linear + (tokens**2 * square if self.model.config._attn_implementation == "eager" else 0)
        if not checkpointing:
            return whole
        return self.layers * tokens * self.hidden * FLOAT + whole / self.layers

    @cached_property
    def _kept(self) -> tuple[float, float]:
        """Bytes that a backward pass needs of a row, for each of its tokens and for each of their pairs."""
        short, long = (self._count_kept(tokens) for tokens in (COUNTED_TOKENS, 2 * COUNTED_TOKENS))
        return (4 * short - long) / (2 * COUNTED_TOKENS), (long - 2 * short) / (2 * COUNTED_TOKENS**2)

    def _count_kept(self, tokens: int) -> float:
        import torch

        weights = {weight.untyped_storage()._cdata for weight in self.model.parameters()}
        kept: dict[int, torch.UntypedStorage] = {}

        def keep(tensor: torch.Tensor) -> torch.Tensor:
            storage = tensor.untyped_storage()
            kept[storage._cdata] = storage
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            self._read(tokens, use_cache=False)
        return float(sum(storage.nbytes() for key, storage in kept.items() if key not in weights))

    def _read(self, tokens: int, use_cache: bool) -> Any:
        import torch

        # A mask that is ready, since nothing can be looked up in ids without values.
        ids, mask = (torch.zeros(size, device="meta") for size in ((1, tokens), (1, 1, tokens, tokens)))
        return self.model.base_model(input_ids=ids.long(), attention_mask=mask, use_cache=use_cache)


@dataclass(frozen=True)
class Lengths:
    """Tokens of the longest prompt, bare and with worked examples, and of the longest response."""

    prompt: int
    few_shot_prompt: int
    response: int


@dataclass(frozen=True)
class Spread:
    """Over how many processes a training is spread, and which of a model's parts they share.

    `kind` is `"none"`, `"ddp"`, `"zero2"`, `"zero3"` or `"fsdp"`, as the files of `recipes/accelerate` are called;
    `processes` counts those of all `machines`.
    """

    kind: str = "none"
    processes: int = 1
    machines: int = 1

    def trained(self, weights: float, bf16: bool, adapter: float = 0) -> dict[str, float]:
        """Parts that so many weights make with AdamW, which trains them all, or the adapter in them alone."""
        learnt, weights = adapter or weights, weights + adapter
        share = {"none": 1, "ddp": 1}.get(self.kind, self.processes)
        share_of_weights = self.processes if self.kind in ("zero3", "fsdp") else 1
        return {
            "weights": weights * (FLOAT + (HALF if bf16 else 0)) / share_of_weights,
            # DDP sends gradients off in buckets, which are a copy.
            "gradients": learnt * FLOAT / share * (2 if self.kind == "ddp" else 1),
            "moments": learnt * 2 * FLOAT / share,
        }

    def gathered(self, weights: float) -> dict[str, float]:
        """The whole copy that generates where each process has a part of the weights."""
        return {"whole copy": weights * FLOAT} if self.kind in ("zero3", "fsdp") else {}


def read_spread(path: str) -> Spread:
    """How a launch configuration of accelerate spreads a training.

    Raises:
        [`~hfdistill.errors.HFDistillError`]: if the file is not there, or is no such configuration.
    """
    file = Path(path)
    if not file.is_file():
        raise HFDistillError(f"no launch configuration at {path!r}: give --accelerate_config an existing YAML file")
    content = yaml.safe_load(file.read_text(encoding="utf-8"))
    if not isinstance(content, dict) or "distributed_type" not in content:
        raise HFDistillError(f"{path} is no launch configuration of accelerate: recipes/accelerate has some")
    processes, machines = (int(content.get(name) or 1) for name in ("num_processes", "num_machines"))
    if processes % machines:
        raise HFDistillError(
            f"{path} has num_processes {processes} on num_machines {machines}: make it a multiple, as many on each"
        )
    kind = str(content["distributed_type"]).upper()
    if kind == "DEEPSPEED":
        stage = int((content.get("deepspeed_config") or {}).get("zero_stage") or 0)
        return Spread({2: "zero2", 3: "zero3"}.get(stage, "ddp"), processes, machines)
    return Spread("fsdp" if kind == "FSDP" else "ddp" if processes > 1 else "none", processes, machines)


@dataclass(frozen=True)
class Need:
    """What a stage takes at its peak.

    Attributes:
        stage (`str`): its name.
        parts (`dict[str, float]`): bytes of memory by what takes them.
        setting (`str`, *optional*): the stage's setting that says how much is computed at once there, if one does.
        disk (`float`): bytes that its checkpoints, or what it publishes, take of the disk.
    """

    stage: str
    parts: dict[str, float]
    setting: str | None
    disk: float

    @property
    def memory(self) -> float:
        """All parts together."""
        return sum(self.parts.values())


def stage_need(stage: str, student: CountedModel, settings: Settings, lengths: Lengths, spread: Spread) -> Need:
    """What one stage takes.

    Args:
        stage (`str`): `"warmup"`, `"reward"`, `"ppo"` or `"evaluate"`.
        student ([`CountedModel`]): the model.
        settings (`dict`): the stage's section, every field.
        lengths ([`Lengths`]): of prompts and responses.
        spread ([`Spread`]): how it is launched.

    Returns:
        [`Need`]: at the worst of its phases.
    """
    phases, trained = COUNTED[stage](student, settings, lengths, spread)
    parts, setting = max(phases, key=lambda phase: sum(phase[0].values()))
    disk = student.parameters * FLOAT
    if trained:
        checkpoint = trained * FLOAT * (1 if settings["save_only_model"] else 3)
        # The oldest goes when a new one is written.
        kept = 0 if str(settings["save_strategy"]) == "no" else (settings["save_total_limit"] or 1) + 1
        disk += checkpoint * kept
    return Need(stage, {**parts, "process": PROCESS}, setting, disk)


Phase = tuple[dict[str, float], str | None]


def _warmup(student: CountedModel, settings: Settings, lengths: Lengths, spread: Spread) -> tuple[list[Phase], float]:
    rows, bf16 = _rows(settings, spread), settings["bf16"]
    states = spread.trained(student.parameters, bf16, student.adapter)
    tokens = min(settings["max_length"] or math.inf, lengths.prompt + lengths.response)
    logits = 3 * min(rows * tokens * student.vocabulary, LOGITS_AT_ONCE) * FLOAT
    training = {**states, "activations": _activations(student, settings, rows, tokens), "logits": logits}
    answers = _cache(student, settings["per_device_eval_batch_size"], lengths.prompt + lengths.response, bf16)
    validation = {**_between_steps(states), **spread.gathered(student.parameters), "cache": answers}
    return [
        (training, "per_device_train_batch_size"),
        (validation, "per_device_eval_batch_size"),
        *_merging(student.parameters, student.adapter, states, spread),
    ], student.adapter or student.parameters


def _reward(student: CountedModel, settings: Settings, lengths: Lengths, spread: Spread) -> tuple[list[Phase], float]:
    response, bf16 = settings["max_new_tokens"] or lengths.response, settings["bf16"]
    rows, total = _rows(settings, spread), lengths.prompt + response
    asked = lengths.few_shot_prompt if settings["few_shot"] else lengths.prompt
    sampled = _cache(student, settings["generation_batch_size"], asked + response, bf16)
    # Generation casts the weights once.
    sampling = {"weights": student.parameters * (FLOAT + (HALF if bf16 else 0)), "cache": sampled}
    # Where a prompt is read once, a triple has fewer tokens than its responses with a prompt each.
    prompts = 1 if settings["share_prefix"] else RESPONSES_OF_A_TRIPLE
    tokens = prompts * lengths.prompt + RESPONSES_OF_A_TRIPLE * response
    states = spread.trained(student.backbone, bf16, student.backbone_adapter)
    training = {**states, "activations": _activations(student, settings, rows * tokens / total, total)}
    return [
        (sampling, "generation_batch_size"),
        (training, "per_device_train_batch_size"),
        *_merging(student.backbone, student.backbone_adapter, states, spread),
    ], student.backbone_adapter or student.backbone


def _ppo(student: CountedModel, settings: Settings, lengths: Lengths, spread: Spread) -> tuple[list[Phase], float]:
    bf16, separate = settings["bf16"], settings["value_backbone"] == "separate"
    prompt = lengths.few_shot_prompt if settings["few_shot"] else lengths.prompt
    response = settings["max_completion_length"] or lengths.response
    episodes = math.ceil(settings["rollout_batch_size"] / spread.processes)
    rows, tokens = min(settings["per_device_train_batch_size"], episodes), prompt + response
    if settings["micro_batch_tokens"]:
        rows = min(rows, max(settings["micro_batch_tokens"] // tokens, 1))
    weights = student.parameters + (student.backbone if separate else 0)
    adapters = student.adapter + (student.backbone_adapter if separate else 0)
    frozen = {}
    # With its adapter off the policy is its own reference.
    if settings["kl_in"] == "reward" and not settings["offload_ref_model"] and not adapters:
        frozen["reference"] = student.parameters * FLOAT
    moved = settings["moving_labels"] != "none" and settings["label_weighting"] == "reward"
    if needs_model(settings["rewards"]) or moved or settings["all_yardsticks"] or settings["yardstick"] == "reward":
        frozen["reward model"] = student.backbone * FLOAT
    states, logits = spread.trained(weights, bf16, adapters), rows * response * student.vocabulary
    training = {
        **states,
        **frozen,
        "activations": (2 if separate else 1) * _activations(student, settings, rows, tokens),
        "logits": (min(logits, LOGITS_KEPT) + 2 * min(logits, LOGITS_AT_ONCE)) * FLOAT,
    }
    sampled = _cache(student, min(settings["generation_batch_size"], episodes), tokens, bf16)
    sampling = {**_between_steps(states), **frozen, **spread.gathered(student.parameters), "cache": sampled}
    return [
        (training, "per_device_train_batch_size"),
        (sampling, "generation_batch_size"),
        *_merging(student.parameters, student.adapter, {**states, **frozen}, spread),
    ], adapters or weights


def _evaluate(
    student: CountedModel, settings: Settings, lengths: Lengths, spread: Spread
) -> tuple[list[Phase], float]:
    # Without a word on it the row of the base student has worked examples.
    prompt = lengths.prompt if settings["few_shot"] == [] else lengths.few_shot_prompt
    answers = _cache(student, settings["batch_size"], prompt + lengths.response, False)
    # The reward model stays from the first row that it scores on.
    frozen = {"reward model": student.backbone * FLOAT} if EvaluateConfig(**settings).scores else {}
    return [({"weights": student.parameters * FLOAT, **frozen, "cache": answers}, "batch_size")], 0.0


COUNTED: dict[str, Callable[..., tuple[list[Phase], float]]] = {
    "warmup": _warmup,
    "reward": _reward,
    "ppo": _ppo,
    "evaluate": _evaluate,
}


def _rows(settings: Settings, spread: Spread) -> int:
    """Rows of a forward pass in training."""
    rows, update = settings["per_device_train_batch_size"], settings["global_batch_size"]
    return rows if update is None else min(rows, math.ceil(update / spread.processes))


def _activations(student: CountedModel, settings: Settings, rows: float, tokens: int) -> float:
    share = SHARE_IN_BF16 if settings["bf16"] else 1
    return share * rows * student.activations(tokens, bool(settings["activation_checkpointing"]))


def _cache(student: CountedModel, rows: int, tokens: int, bf16: bool) -> float:
    """Keys and values of rows in generation, and the logits of one step with what choosing takes."""
    return rows * (tokens * student.cached * (HALF if bf16 else FLOAT) + 3 * student.vocabulary * FLOAT)


def _merging(weights: float, adapter: float, states: dict[str, float], spread: Spread) -> list[Phase]:
    """At the end an adapter is merged into a copy of the model's weights."""
    copy = {"merged copy": (weights + adapter) * FLOAT}
    return [({**_between_steps(states), **spread.gathered(weights), **copy}, None)] if adapter else []


def _between_steps(states: dict[str, float]) -> dict[str, float]:
    """What of the trained weights is there while no gradient is."""
    return {name: size for name, size in states.items() if name != "gradients"}
