"""What the trainer is given, completed and checked before anything is trained."""

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

from transformers import PreTrainedModel, PreTrainedTokenizerBase, set_seed

from ..encoding import Encoder, check_vocabulary
from ..errors import HFDistillError
from .actor_critic import causal_model
from .config import PPOConfig
from .prompts import PromptDataset
from .scoring import RewardFunction, Rewards
from .value_model import build_value_model


@dataclass
class Inputs:
    """What PPO works with.

    Attributes:
        policy (`PreTrainedModel` or `peft.PeftModel`): what is trained.
        encoder ([`~hfdistill.encoding.Encoder`]): of its tokenizer.
        rewards ([`~hfdistill.ppo.scoring.Rewards`]): what is maximised.
        reference (`PreTrainedModel`, *optional*): what the KL is measured to, where that is a model of its own.
        value_model (`PreTrainedModel`, *optional*): the value function, where it is a model of its own.
        prompts ([`~hfdistill.ppo.prompts.PromptDataset`]): what is answered.
        max_prompt_length (`int`): most tokens of a prompt.
    """

    policy: PreTrainedModel
    encoder: Encoder
    rewards: Rewards
    reference: PreTrainedModel | None
    value_model: PreTrainedModel | None
    prompts: PromptDataset
    max_prompt_length: int


def complete_inputs(
    model: PreTrainedModel,
    reward_funcs: RewardFunction | PreTrainedModel | str | Sequence[RewardFunction | PreTrainedModel | str],
    args: PPOConfig,
    train_dataset: Sequence[dict[str, Any]],
    processing_class: PreTrainedTokenizerBase | None,
    value_model: PreTrainedModel | None,
    ref_model: PreTrainedModel | None,
    peft_config: Any,
) -> Inputs:
    """Make of the arguments of [`~hfdistill.ppo.PPOTrainer`] what it works with."""
    encoder = load_encoder(processing_class, model)
    rewards = Rewards(reward_funcs, args.reward_weights, encoder, model)
    reference = make_reference(ref_model, model, args, peft_config)
    policy = add_adapter(model, args, peft_config)
    value_model = make_value_model(value_model, policy, args, rewards, encoder)
    context = causal_model(policy).config.get_text_config().max_position_embeddings
    max_prompt_length = args.max_prompt_length or context - args.max_completion_length
    prompts = PromptDataset(train_dataset, encoder, max_prompt_length, "train_dataset")
    return Inputs(policy, encoder, rewards, reference, value_model, prompts, max_prompt_length)


def load_encoder(processing_class: PreTrainedTokenizerBase | None, model: PreTrainedModel) -> Encoder:
    """The encoder of the policy's tokenizer, whose pad token the policy learns of."""
    if processing_class is None:
        raise HFDistillError("PPO needs the tokenizer of the policy: give processing_class")
    encoder = Encoder(processing_class)
    model.config.pad_token_id = encoder.pad_token_id
    return encoder


def make_reference(
    ref_model: PreTrainedModel | None, model: PreTrainedModel, args: PPOConfig, peft_config: Any
) -> PreTrainedModel | None:
    """The given reference, or a copy of the policy where the KL needs one and there is no adapter to switch off."""
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


def add_adapter(model: PreTrainedModel, args: PPOConfig, peft_config: Any) -> PreTrainedModel:
    """The policy with the adapter that is asked for, if any."""
    if peft_config is None:
        return model
    from peft import get_peft_model

    # An adapter's first weights follow the seed, too; the Trainer sets it later.
    set_seed(args.seed)
    return get_peft_model(model, peft_config)


def make_value_model(
    value_model: PreTrainedModel | None,
    policy: PreTrainedModel,
    args: PPOConfig,
    rewards: Rewards,
    encoder: Encoder,
) -> PreTrainedModel | None:
    """The value model, where it has a backbone of its own: the given one, the first reward model's or the policy's."""
    if args.value_backbone == "shared":
        return None
    if value_model is None and rewards.models:
        value_model = deepcopy(rewards.models[0])
    value_model = build_value_model(policy, value_model, args.value_head_init, encoder.pad_token_id)
    return value_model.requires_grad_(True)
