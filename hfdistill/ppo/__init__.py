"""PPO on `transformers.Trainer`: text in, reward functions with columns, exact resume, one process or many."""

from typing import TYPE_CHECKING


if TYPE_CHECKING:
    from .config import PPOConfig
    from .trainer import PPOTrainer

__all__ = ["PPOConfig", "PPOTrainer"]


def __getattr__(name: str) -> type:
    if name == "PPOTrainer":
        from .trainer import PPOTrainer

        return PPOTrainer
    if name == "PPOConfig":
        from .config import PPOConfig

        return PPOConfig
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
