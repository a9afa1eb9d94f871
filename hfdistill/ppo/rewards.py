"""Reward functions and reward models, mixed and weighted."""

import inspect
import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

from transformers import PreTrainedModel

from ..encoding import Encoder, check_vocabulary
from ..errors import HFDistillError
from ..reward.model import RewardScorer, check_scalar_model, load_reward_model, prepare_reward_model


RewardFunction = Callable[..., list[float | None]]


class Rewards:
    """Ask every reward function and add up what they say.

    Args:
        reward_funcs: one or several of: a function `f(prompts, completions, completion_ids, finished, **columns)` that
            returns a number, or `None` where it has nothing to say, for each episode; a sequence classification model
            with one output; or the path of one.
        weights (`Sequence[float]`, *optional*): one a function; all 1 by default.
        encoder ([`~hfdistill.encoding.Encoder`]): of the policy.
        policy (`PreTrainedModel`): reward models must share its vocabulary.
    """

    def __init__(
        self,
        reward_funcs: RewardFunction | PreTrainedModel | str | Sequence[RewardFunction | PreTrainedModel | str],
        weights: Sequence[float] | None,
        encoder: Encoder,
        policy: PreTrainedModel,
    ):
        listed = list(reward_funcs) if isinstance(reward_funcs, list | tuple) else [reward_funcs]
        if not listed:
            raise HFDistillError("reward_funcs is empty: PPO needs at least one reward function or reward model")
        self.weights = [1.0] * len(listed) if weights is None else list(weights)
        if len(self.weights) != len(listed):
            raise HFDistillError(f"reward_weights has {len(self.weights)} entries for {len(listed)} reward functions")
        self.models: list[PreTrainedModel] = []
        self.functions: dict[str, RewardFunction] = {}
        self.logged: dict[str, list[float]] = defaultdict(list)
        for func in listed:
            name, function = self._as_function(func, encoder, policy)
            while name in self.functions:
                name += "_"
            self.functions[name] = function

    def _as_function(self, func: Any, encoder: Encoder, policy: PreTrainedModel) -> tuple[str, RewardFunction]:
        if isinstance(func, str):
            func = load_reward_model(func)
        if not isinstance(func, PreTrainedModel):
            if not callable(func):
                raise HFDistillError(f"{func!r} is no reward function, no reward model and no path of one")
            named = inspect.isroutine(func) or inspect.isclass(func)
            return (func.__name__ if named else type(func).__name__), func
        check_scalar_model(func, "reward model")
        check_vocabulary(func, policy, "reward model")
        if func.config.pad_token_id is None:
            func.config.pad_token_id = encoder.pad_token_id
        self.models.append(prepare_reward_model(func).to(policy.device))
        scorer = RewardScorer(func, encoder)

        def score(completion_ids, prompt_ids, **columns):
            return scorer.score_ids([p + c for p, c in zip(prompt_ids, completion_ids, strict=True)]).tolist()

        return func.name_or_path.rstrip("/").split("/")[-1] or type(func).__name__, score

    def log_metric(self, name: str, value: float) -> None:
        """What reward functions call to have a figure of their own in the log."""
        self.logged[name].append(float(value))

    def __call__(
        self,
        prompts: list[Any],
        prompt_ids: list[list[int]],
        completions: list[Any],
        completion_ids: list[list[int]],
        finished: list[bool],
        columns: dict[str, list[Any]],
    ) -> list[dict[str, float | None]]:
        """Score episodes.

        Args:
            prompts (`list`): text or messages, as in the dataset.
            prompt_ids (`list[list[int]]`): their ids.
            completions (`list`): text, or a list with the assistant's message.
            completion_ids (`list[list[int]]`): their ids, with the end-of-sequence token where one was sampled.
            finished (`list[bool]`): `False` where the completion was cut off by its length.
            columns (`dict[str, list]`): the dataset's other columns.

        Returns:
            `list[dict[str, float | None]]`: for each episode what each function said; NaN and infinity count as
            nothing said.

        Raises:
            [`~hfdistill.errors.HFDistillError`]: if a function returns anything but one number an episode.
        """
        said: list[dict[str, float | None]] = [{} for _ in completions]
        for name, function in self.functions.items():
            try:
                values = function(
                    prompts=prompts,
                    prompt_ids=prompt_ids,
                    completions=completions,
                    completion_ids=completion_ids,
                    finished=finished,
                    log_metric=self.log_metric,
                    **columns,
                )
            except HFDistillError:
                raise
            except Exception as error:
                raise HFDistillError(f"the reward function {name!r} raised {type(error).__name__}: {error}") from error
            if not isinstance(values, Sequence) or len(values) != len(completions):
                found = f"{len(values)} values" if isinstance(values, Sequence) else type(values).__name__
                raise HFDistillError(
                    f"the reward function {name!r} returned {found} for {len(completions)} completions: it must "
                    "return a list with one number, or None, for each"
                )
            for row, value in zip(said, values, strict=True):
                row[name] = self._number(name, value)
        return said

    def _number(self, name: str, value: Any) -> float | None:
        try:
            return None if value is None or not math.isfinite(value) else float(value)
        except (TypeError, ValueError):
            raise HFDistillError(
                f"the reward function {name!r} returned {value!r} for a completion: it must be a number, or None"
            ) from None

    def total(self, said: dict[str, float | None]) -> float | None:
        """Weighted sum over the functions that said something; `None` if none did."""
        heard = [
            weight * said[name]
            for name, weight in zip(self.functions, self.weights, strict=True)
            if said[name] is not None
        ]
        return sum(heard) if heard else None
