"""What a method is made from."""

from ..reward.rewards import Reward, is_path, load_reward, read_entry
from .config import BaselineConfig
from .methods import METHODS


def parent_roles(stage: BaselineConfig) -> tuple[str, ...]:
    """Roles of the artifacts that the method of a section reads; the reward model where a reward asks it, or may."""
    method = METHODS[stage.method]
    if method.rewarded and any(map(_asks_model, stage.rewards)):
        return (*method.parents, "reward")
    return method.parents


def _asks_model(entry: str) -> bool:
    section, _ = read_entry(entry)
    if is_path(section["name"]):
        return True  # only loading it would tell
    reward = load_reward(section)
    return isinstance(reward, Reward) and reward.asks_model
