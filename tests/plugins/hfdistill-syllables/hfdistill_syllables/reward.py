"""A reward: what begins politely is worth more. It works in TRL's trainers, too."""

from dataclasses import dataclass
from typing import Any, ClassVar

from hfdistill.reward.rewards import Reward, text_of


@dataclass
class Polite(Reward):
    """
    Args:
        word (`str`): what a response begins with.
    """

    name: ClassVar[str] = "polite"

    word: str = "Sure"

    def __call__(self, completions: list[Any], **columns: Any) -> list[float]:
        return [float(text_of(completion).lstrip().startswith(self.word)) for completion in completions]
