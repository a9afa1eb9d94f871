"""What the trainer is given, completed and checked before anything is trained."""

from collections.abc import Iterable, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase
from transformers.utils import logging

from ..chat import Chat
from ..encoding import Encoder, check_vocabulary
from ..errors import HFDistillError
from ..student import as_list, settle_pad_token
from ..training.adapters import (
    NEUTRAL,
    SCALAR,
    add_adapter,
    check_kind,
    check_trainable,
    copy_as_reference,
    inner_model,
)
from ..training.best_checkpoint import ACCURACY
from ..training.loading import TRAINED
from .config import PPOConfig
from .prompts import PromptDataset, PromptStream, open_prompts
from .scoring import RewardFunction, Rewards
from .value_model import build_value_model


logger = logging.get_logger(__name__)


@dataclass
class Inputs:
    """What PPO works with.

    Attributes:
        policy (`PreTrainedModel` or `peft.PeftModel`): what is trained.
        encoder ([`~hfdistill.encoding.Encoder`]): of its tokenizer.
        rewards ([`~hfdistill.ppo.scoring.Rewards`]): what is maximised.
        reference (`PreTrainedModel`, *optional*): what the KL is measured to, where that is a model of its own.
        value_model (`PreTrainedModel`, *optional*): the value function, where it is a model of its own.
        prompts ([`~hfdistill.ppo.prompts.PromptDataset`] or [`~hfdistill.ppo.prompts.PromptStream`]): what is
            answered.
        max_prompt_length (`int`): most tokens of a prompt.
    """

    policy: PreTrainedModel
    encoder: Encoder
    rewards: Rewards
    reference: PreTrainedModel | None
    value_model: PreTrainedModel | None
    prompts: PromptDataset | PromptStream
    max_prompt_length: int


def complete_inputs(
    model: PreTrainedModel | str,
    reward_funcs: RewardFunction | PreTrainedModel | str | Sequence[RewardFunction | PreTrainedModel | str],
    args: PPOConfig,
    train_dataset: Iterable[dict[str, Any]] | None,
    processing_class: PreTrainedTokenizerBase | Encoder | None,
    reward_processing_classes: PreTrainedTokenizerBase | Sequence[PreTrainedTokenizerBase | None] | None,
    value_model: PreTrainedModel | None,
    ref_model: PreTrainedModel | None,
    peft_config: Any,
) -> Inputs:
    """Make of the arguments of [`~hfdistill.ppo.PPOTrainer`] what it works with."""
    model = open_policy(model, args, peft_config)
    encoder = make_encoder(processing_class, model, args)
    rewards = Rewards(reward_funcs, args.reward_weights, encoder, model, reward_processing_classes)
    reference = make_reference(ref_model, model, args, peft_config)
    policy = make_policy(model, reference, args, peft_config)
    value_model = make_value_model(value_model, policy, args, rewards, encoder)
    max_prompt_length = args.max_prompt_length or room_for_prompts(policy, args)
    prompts = open_prompts(train_dataset, encoder, max_prompt_length, "train_dataset")
    if isinstance(prompts, PromptStream) and args.max_steps <= 0 and args.total_episodes is None:
        raise HFDistillError("train_dataset has no length: say by total_episodes, or max_steps, how long to train")
    return Inputs(policy, encoder, rewards, reference, value_model, prompts, max_prompt_length)


def room_for_prompts(policy: PreTrainedModel, args: PPOConfig) -> int:
    """Tokens of the policy's context that the longest completion leaves to a prompt."""
    context = inner_model(policy).config.get_text_config().max_position_embeddings
    if context <= args.max_completion_length:
        raise HFDistillError(
            f"max_completion_length is {args.max_completion_length} and the policy's context {context} tokens, which "
            "leaves none to prompts: lower it"
        )
    return context - args.max_completion_length


def check_metric(args: PPOConfig, eval_dataset: Any, eval_func: Any, yardsticks: Sequence[str] = ()) -> None:
    """Refuse to choose the best checkpoint by a figure that validation does not give."""
    if args.metric_for_best_model is None or eval_dataset is None:
        return
    figures = ["reward" if eval_func is None else ACCURACY, "mean_length", "finished", *yardsticks]
    if isinstance(eval_dataset, dict):
        figures = [f"{name}_{figure}" for name in eval_dataset for figure in figures]
    if args.metric_for_best_model.removeprefix("eval_") not in figures:
        raise HFDistillError(
            f"metric_for_best_model is {args.metric_for_best_model!r}, and validation gives {', '.join(figures)}: set "
            f"it to one of them{', or give eval_func' if eval_func is None else ''}"
        )


def settle_args(args: PPOConfig | None, model: PreTrainedModel | str) -> PPOConfig:
    """The options; all by default, in a folder named after the model, if none are given."""
    if args is None:
        name = model if isinstance(model, str) else model.config.name_or_path
        return PPOConfig(f"{name.rstrip('/').split('/')[-1] or type(model).__name__}-PPO")
    if not isinstance(args, PPOConfig):
        raise HFDistillError(f"args is a {type(args).__name__}: PPO's options are a hfdistill.ppo.PPOConfig")
    return args


def open_policy(model: PreTrainedModel | str, args: PPOConfig, peft_config: Any) -> PreTrainedModel:
    """The policy with weights in fp32, loaded if it is the name of one."""
    if isinstance(model, str):
        model = load_policy(model, args.model_init_kwargs or {})
    elif args.model_init_kwargs:
        raise HFDistillError("model_init_kwargs tell how to load a model, and this one is loaded: leave them out")
    if inner_model(model).config.is_encoder_decoder:
        raise HFDistillError(
            f"the policy {model.name_or_path!r} is an encoder-decoder ({model.config.model_type}): PPO trains "
            "decoder-only language models"
        )
    if not isinstance(model, PreTrainedModel):
        check_kind(model.active_peft_config)
    # Weights below an adapter are not trained.
    adapted = peft_config is not None or not isinstance(model, PreTrainedModel)
    return model if adapted else in_float32(model, "policy")


def load_policy(name: str, init_kwargs: dict[str, Any]) -> PreTrainedModel:
    """The causal language model of a folder or a Hub repository."""
    try:
        return AutoModelForCausalLM.from_pretrained(name, **{"dtype": TRAINED, **init_kwargs})
    except (OSError, ValueError) as error:
        raise HFDistillError(f"the policy {name!r} cannot be loaded: {' '.join(str(error).split())}") from error


def in_float32(model: PreTrainedModel, role: str) -> PreTrainedModel:
    """The model with its weights in fp32: most steps of 1e-5 of a weight are lost in bf16."""
    half = {parameter.dtype for parameter in model.parameters()} & {torch.bfloat16, torch.float16}
    if not half:
        return model
    logger.warning(
        f"the weights of the {role} {model.name_or_path!r} are {half.pop()}, in which small steps are lost: they are "
        "trained in float32; bf16=True computes in bf16"
    )
    return model.float()


def make_encoder(
    processing_class: PreTrainedTokenizerBase | Encoder | None, model: PreTrainedModel, args: PPOConfig
) -> Encoder:
    """The encoder of the policy's tokenizer, whose pad token the policy learns of, and whose end tokens it names."""
    encoder = processing_class
    if not isinstance(encoder, Encoder):
        tokenizer = open_tokenizer(inner_model(model)) if encoder is None else encoder
        if not isinstance(tokenizer, PreTrainedTokenizerBase):
            raise HFDistillError(
                f"processing_class is a {type(tokenizer).__name__}: give a tokenizer, as PPO reads text"
            )
        ends = as_list(inner_model(model).generation_config.eos_token_id)
        settle_pad_token(tokenizer, ends)
        options = args.chat_template_kwargs
        encoder = Encoder(tokenizer, ends, Chat(template_kwargs=options) if options else None)
    model.config.pad_token_id = encoder.pad_token_id
    return encoder


def open_tokenizer(model: PreTrainedModel) -> PreTrainedTokenizerBase:
    """The tokenizer that lies beside a model."""
    name = model.name_or_path
    if not name:
        raise HFDistillError(
            "PPO needs the tokenizer of the policy, which was loaded from nowhere: give processing_class"
        )
    try:
        return AutoTokenizer.from_pretrained(name)
    except (OSError, ValueError) as error:
        raise HFDistillError(
            f"no tokenizer is found at {name!r}: give processing_class ({' '.join(str(error).split())})"
        ) from error


def make_reference(
    ref_model: PreTrainedModel | None, model: PreTrainedModel, args: PPOConfig, peft_config: Any
) -> PreTrainedModel | None:
    """The given reference, or a copy of the policy where the KL needs one and no adapter tells the two apart."""
    if ref_model is None and peft_config is None and args.kl_in == "reward" and isinstance(model, PreTrainedModel):
        ref_model = deepcopy(model)
    if ref_model is not None:
        check_vocabulary(ref_model, model, "reference model")
    elif args.offload_ref_model:
        raise HFDistillError(
            "offload_ref_model is set, and there is no reference model: it is the policy with its adapter off, or "
            "kl_in is 'loss'; leave the option out"
        )
    return ref_model


def make_policy(
    model: PreTrainedModel, reference: PreTrainedModel | None, args: PPOConfig, peft_config: Any
) -> PreTrainedModel:
    """The policy with the adapter that is asked for, and one of the policy as it starts, where the KL is measured to
    that and it is not the policy without adapter.
    """
    if isinstance(model, PreTrainedModel) and model._hf_peft_config_loaded:
        raise HFDistillError(
            "transformers put the policy's adapter into it, and would save it without the rest: load it by "
            "peft.AutoPeftModelForCausalLM.from_pretrained(…, is_trainable=True)"
        )
    policy = add_adapter(model, peft_config, args.seed)
    check_trainable(policy, "policy")
    neutral = peft_config is not None and vars(peft_config).get("init_lora_weights", True) in NEUTRAL
    if not isinstance(policy, PreTrainedModel) and not neutral and reference is None and args.kl_in == "reward":
        copy_as_reference(policy)
    return policy


def make_value_model(
    value_model: PreTrainedModel | None,
    policy: PreTrainedModel,
    args: PPOConfig,
    rewards: Rewards,
    encoder: Encoder,
) -> PreTrainedModel | None:
    """The value model, where it has a backbone of its own: the given one, that of the first reward model
    that reads the policy's tokens, or the policy's own. Beside a policy with an adapter it has one of the same kind.
    """
    if args.value_backbone == "shared":
        return None
    if value_model is None:
        likely = [reward.model for reward in rewards.models if reward.knows_policy_tokens]
        value_model = deepcopy(likely[0]) if likely else None
    value_model = build_value_model(policy, value_model, args.value_head_init, encoder.pad_token_id)
    if isinstance(policy, PreTrainedModel):
        return in_float32(value_model, "value model").requires_grad_(True)
    config = deepcopy(policy.active_peft_config)
    config.modules_to_save, config.base_model_name_or_path = None, None  # peft adds the head, and another name
    return add_adapter(value_model, config, args.seed, SCALAR)
