"""The value model that PPO starts from: the reward model, another one that is given, or the policy's backbone."""

from torch import nn
from transformers import AutoModelForSequenceClassification, PreTrainedModel

from ..encoding import check_vocabulary
from ..reward.model import check_scalar_model, set_float32_head
from ..training.adapters import merged


def build_value_model(
    policy: PreTrainedModel, value_model: PreTrainedModel | None, head_init: str, pad_token_id: int
) -> PreTrainedModel:
    """A value model with a head in fp32: the given one, whose head is kept (`"copy"`) or cleared (`"zero"`), or a copy
    of the policy's backbone with a head of zeros. It may be of another size than the policy, and of an ensemble it has
    the one head that was published, the mean of all.
    """
    if value_model is None:
        # What an adapter does so far is in the value's backbone, too.
        value_model, head_init = _copy_backbone(merged(policy), pad_token_id), "zero"
    check_scalar_model(value_model, "value model")
    check_vocabulary(value_model, policy, "value model")
    set_float32_head(value_model)
    if head_init == "zero":
        nn.init.zeros_(value_model.score.weight)
    return value_model


def _copy_backbone(causal: PreTrainedModel, pad_token_id: int) -> PreTrainedModel:
    config = type(causal.config).from_dict(causal.config.to_dict())
    config.num_labels, config.pad_token_id = 1, pad_token_id
    value_model = AutoModelForSequenceClassification.from_config(config, dtype=causal.dtype)
    value_model.base_model.load_state_dict(causal.base_model.state_dict())
    return value_model.to(causal.device)
