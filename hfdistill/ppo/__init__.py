"""PPO on `transformers.Trainer`: text in, reward functions with columns, exact resume, one process or many."""

from importlib import import_module


__all__ = ["PPOConfig", "PPOTrainer"]


def __getattr__(name: str) -> type:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(".config" if name == "PPOConfig" else ".trainer", __name__), name)
