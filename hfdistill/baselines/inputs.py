"""What a method is made from."""

from ..reward.rewards import is_path, needs_model, read_entry
from .config import BaselineConfig
from .methods import METHODS


def parent_roles(stage: BaselineConfig) -> tuple[str, ...]:
    """Roles of the artifacts that the method of a section reads; the reward model where a reward asks it, or may."""
    method = METHODS[stage.method]
    if not method.rewarded:
        return method.parents
    # What a function of the user's own asks, only loading it would tell.
    own = any(is_path(read_entry(entry)[0]["name"]) for entry in stage.rewards)
    return (*method.parents, "reward") if own or needs_model(stage.rewards) else method.parents
