"""The table of methods: what each needs, and which of TRL's configurations it is run by."""

import importlib
from dataclasses import dataclass


@dataclass(frozen=True)
class Method:
    """A method to compare PPO with.

    Attributes:
        config (`str`): name of TRL's configuration.
        title (`str`): what it is, for cards.
        parents (`tuple[str, ...]`): roles of what it is made from; the reward model besides, where a reward asks it.
        in_groups (`bool`): whether it samples several responses to a prompt.
        rewarded (`bool`): whether the run's rewards are what it learns from.
        labelled (`bool`): whether labels may choose its checkpoint.
    """

    config: str
    title: str
    parents: tuple[str, ...] = ("warmup", "triples", "labels")
    in_groups: bool = False
    rewarded: bool = False
    labelled: bool = True

    def trl_class(self) -> type:
        """TRL's configuration."""
        return getattr(importlib.import_module("trl"), self.config)


METHODS = {
    "grpo": Method("GRPOConfig", "refined by GRPO against the same reward", in_groups=True, rewarded=True),
    "rloo": Method("RLOOConfig", "refined by RLOO against the same reward", in_groups=True, rewarded=True),
    "sft_equal_compute": Method("SFTConfig", "trained on by imitation for as many tokens as PPO's episodes have"),
    "distillation": Method(
        "DistillationConfig", "drawn to the probabilities of the teacher's weights on its own responses"
    ),
    "ttrl": Method(
        "GRPOConfig",
        "refined by GRPO on the test questions for agreement with the majority of its own answers",
        parents=("warmup", "labels"),
        in_groups=True,
        labelled=False,
    ),
}
