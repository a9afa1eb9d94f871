"""Reward functions and reward models, asked as TRL's GRPO and RLOO trainers ask them, and mixed by their weights."""

import asyncio
import functools
import inspect
import math
import threading
from collections import defaultdict
from collections.abc import Callable, Coroutine, Iterable, Sequence
from typing import Any

from torch import nn
from transformers import PreTrainedModel, TrainerState

from ..encoding import Encoder, check_vocabulary
from ..errors import HFDistillError
from ..reward.model import RewardScorer, check_scalar_model, load_reward_model, prepare_reward_model


RewardFunction = Callable[..., list[float | None]]


class Rewards:
    """Ask every reward function and add up what they say.

    Args:
        reward_funcs: one or several of: a function `f(prompts, completions, completion_ids, **columns)` that returns a
            number, or `None` where it has nothing to say, for each episode, and may be a coroutine; a sequence
            classification model with one output; or the path of one.
        weights (`Sequence[float]`, *optional*): one a function; all 1 by default.
        encoder ([`~hfdistill.encoding.Encoder`]): of the policy.
        policy (`PreTrainedModel`): reward models must share its vocabulary.

    Attributes:
        logged (`dict[str, list[float]]`): what functions logged by `log_metric` since it was last cleared.
        extra (`dict[str, list]`): what they gave to `log_extra` in the last call, a column each.
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
        self.extra: dict[str, list[Any]] = defaultdict(list)
        for func in listed:
            name, function = self._as_function(func, encoder, policy)
            while name in self.functions:
                name += "_"
            self.functions[name] = function

    def _as_function(self, func: Any, encoder: Encoder, policy: PreTrainedModel) -> tuple[str, RewardFunction]:
        if isinstance(func, str):
            func = load_reward_model(func)
        if not isinstance(func, PreTrainedModel):
            if not callable(func) or isinstance(func, nn.Module):
                raise HFDistillError(f"{func!r} is no reward function, no reward model and no path of one")
            named = func
            while isinstance(named, functools.partial):
                named = named.func
            return getattr(named, "__name__", type(named).__name__), func
        check_scalar_model(func, "reward model")
        check_vocabulary(func, policy, "reward model")
        if func.config.pad_token_id is None:
            func.config.pad_token_id = encoder.pad_token_id
        self.models.append(prepare_reward_model(func).to(policy.device))
        scorer = RewardScorer(func, encoder)

        def score(prompts, completion_ids, **columns):
            pairs = zip(prompts, completion_ids, strict=True)
            return scorer.score_ids([encoder.prompt_ids(prompt) + ids for prompt, ids in pairs]).tolist()

        return func.name_or_path.rstrip("/").split("/")[-1] or type(func).__name__, score

    def __call__(
        self,
        prompts: list[Any],
        completions: list[Any],
        completion_ids: list[list[int]],
        columns: dict[str, list[Any]],
        state: TrainerState,
    ) -> list[dict[str, float | None]]:
        """What each function says about each episode, `None` also for NaN and infinity.

        Prompts and completions are texts or messages, as in the dataset, whose other columns are `columns`.

        Raises:
            [`~hfdistill.errors.HFDistillError`]: if a function returns anything but one number an episode.
        """
        self.extra.clear()
        keywords = {"prompts": prompts, "completions": completions, "completion_ids": completion_ids, **columns}
        keywords |= {
            "trainer_state": state,
            "log_extra": lambda column, values: self.extra[column].extend(values),
            "log_metric": lambda name, value: self.logged[name].append(float(value)),
        }
        returned: dict[str, Any] = {}
        for name, function in self.functions.items():
            try:
                returned[name] = function(**keywords)
            except Exception as error:
                raise _failed(name, error) from error
        returned |= self._awaited({name: value for name, value in returned.items() if inspect.iscoroutine(value)})
        said: list[dict[str, float | None]] = [{} for _ in completions]
        for name, values in returned.items():
            values = list(values) if isinstance(values, Iterable) else values
            if not isinstance(values, list) or len(values) != len(completions):
                found = f"{len(values)} values" if isinstance(values, list) else type(values).__name__
                raise HFDistillError(
                    f"the reward function {name!r} returned {found} for {len(completions)} completions: it must "
                    "return a list with one number, or None, for each"
                )
            for row, value in zip(said, values, strict=True):
                row[name] = _number(name, value)
        return said

    @functools.cached_property
    def _loop(self) -> asyncio.AbstractEventLoop:
        """One loop for all calls: what a function keeps open, for example a connection, belongs to it."""
        loop = asyncio.new_event_loop()
        threading.Thread(target=loop.run_forever, daemon=True).start()
        return loop

    def _awaited(self, coroutines: dict[str, Coroutine[Any, Any, Any]]) -> dict[str, Any]:
        """Wait for the functions that are coroutines, all at a time."""
        if not coroutines:
            return {}

        async def wait() -> list[Any]:
            return await asyncio.gather(*coroutines.values(), return_exceptions=True)

        results = asyncio.run_coroutine_threadsafe(wait(), self._loop).result()
        for name, result in zip(coroutines, results, strict=True):
            if isinstance(result, BaseException):
                raise _failed(name, result) from result
        return dict(zip(coroutines, results, strict=True))

    def total(self, said: dict[str, float | None]) -> float | None:
        """Weighted sum over the functions that said something; `None` if none did."""
        heard = [
            weight * said[name]
            for name, weight in zip(self.functions, self.weights, strict=True)
            if said[name] is not None
        ]
        return sum(heard) if heard else None


def _failed(name: str, error: BaseException) -> BaseException:
    if isinstance(error, HFDistillError):
        return error
    return HFDistillError(f"the reward function {name!r} raised {type(error).__name__}: {error}")


def _number(name: str, value: Any) -> float | None:
    try:
        return None if value is None or not math.isfinite(value) else float(value)
    except (TypeError, ValueError):
        raise HFDistillError(
            f"the reward function {name!r} returned {value!r} for a completion: it must be a number, or None"
        ) from None
