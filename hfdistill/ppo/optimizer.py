"""One optimizer for policy and value: its groups, and what it must not do to the policy while the value warms up."""

from collections.abc import Collection
from typing import Any

from torch import nn, optim

from .actor_critic import ActorCritic
from .config import PPOConfig


def parameter_groups(model: ActorCritic, decayed: Collection[str], config: PPOConfig) -> list[dict[str, Any]]:
    """One group a learning rate (policy, value) and weight decay, which applies to the parameters named `decayed`."""
    value = {id(parameter) for parameter in model.value_parameters()}
    trained = [(name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad]
    groups = []
    for is_value, rate in ((False, config.learning_rate), (True, config.value_learning_rate)):
        named = [(name, parameter) for name, parameter in trained if (id(parameter) in value) == is_value]
        for decay in (True, False):
            members = [parameter for name, parameter in named if (name in decayed) == decay]
            if members:
                group = {"params": members, "weight_decay": config.weight_decay if decay else 0.0}
                groups.append(group if rate is None else {**group, "lr": rate})
    return groups


def keep_value_gradients(model: ActorCritic) -> None:
    """Leave only the value's gradients: without a gradient Adam does not touch a weight, nor its moments.

    DeepSpeed keeps gradients to itself; there the policy's are zero, and Adam moves nothing either, but it counts the
    steps: see [`forget_warmup`].
    """
    value = {id(parameter) for parameter in model.value_parameters()}
    for parameter in model.parameters():
        if id(parameter) not in value:
            parameter.grad = None


def forget_warmup(optimizer: optim.Optimizer) -> None:
    """Let DeepSpeed's Adam begin to correct the bias of the policy's moments where they begin."""
    state: dict[nn.Parameter, Any] = optimizer.state
    for weights, moments in list(state.items()):
        if not any(moment.any() for name, moment in moments.items() if name != "step"):
            del state[weights]
