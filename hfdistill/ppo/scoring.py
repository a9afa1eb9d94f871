"""Reward functions and reward models, asked as TRL's GRPO and RLOO trainers ask them, and mixed by their weights."""

import asyncio
import functools
import inspect
import math
import threading
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase, TrainerState

from ..encoding import Encoder
from ..errors import HFDistillError
from ..reward.rewards import Reward, is_path, load_function
from .reward_models import ModelReward, open_reward_model


RewardFunction = Callable[..., list[float | None]]


class Said(NamedTuple):
    """What reward functions say about an episode: by name a number or `None`, and what dense ones give to each of its
    tokens, by their weights; `None` where none is dense.
    """

    values: dict[str, float | None]
    tokens: list[float] | None


class Rewards:
    """Ask every reward function and add up what they say.

    Args:
        reward_funcs: one or several of: a function `f(prompts, completions, completion_ids, **columns)` that returns a
            number, or `None` where it has nothing to say, for each episode, and may be a coroutine; `module:function`,
            where it is loaded from; a sequence classification model with one output; or the path or name of one.
        weights (`Sequence[float]`, *optional*): one a function; all 1 by default.
        encoder ([`~hfdistill.encoding.Encoder`]): of the policy.
        policy (`PreTrainedModel`): what is rewarded.
        processing_classes (`PreTrainedTokenizerBase`, or a list of these, *optional*): one a function: the tokenizers
            of reward models; see [`~hfdistill.ppo.reward_models.ModelReward`].

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
        processing_classes: PreTrainedTokenizerBase | Sequence[PreTrainedTokenizerBase | None] | None = None,
    ):
        listed = list(reward_funcs) if isinstance(reward_funcs, list | tuple) else [reward_funcs]
        if not listed:
            raise HFDistillError("reward_funcs is empty: PPO needs at least one reward function or reward model")
        self.weights = one_each("reward_weights", weights, 1.0, len(listed))
        tokenizers = one_each("reward_processing_classes", processing_classes, None, len(listed))
        self.functions: dict[str, RewardFunction] = {}
        self.logged: dict[str, list[float]] = defaultdict(list)
        self.extra: dict[str, list[Any]] = defaultdict(list)
        for func, tokenizer in zip(listed, tokenizers, strict=True):
            function = as_function(func, tokenizer, encoder, policy)
            named = function
            while isinstance(named, functools.partial):
                named = named.func
            name = getattr(named, "__name__", type(named).__name__)
            while name in self.functions:
                name += "_"
            self.functions[name] = function

    @property
    def models(self) -> list[ModelReward]:
        """The reward models among the functions."""
        return [function for function in self.functions.values() if isinstance(function, ModelReward)]

    def __call__(
        self,
        prompts: list[Any],
        completions: list[Any],
        completion_ids: list[list[int]],
        columns: dict[str, list[Any]],
        state: TrainerState,
    ) -> list[Said]:
        """What each function says about each episode, `None` also for NaN and infinity. A dense one (see
        [`~hfdistill.reward.rewards.Reward`]) says what each token earns, and its number is the sum.

        Prompts and completions are texts or messages, as in the dataset, whose other columns are `columns`.

        Raises:
            [`~hfdistill.errors.HFDistillError`]: if a function returns anything but one number an episode, or a
                token.
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
                returned[name] = (function.token_rewards if is_dense(function) else function)(**keywords)
            except Exception as error:
                raise _failed(name, error) from error
        returned |= self._awaited({name: value for name, value in returned.items() if inspect.isawaitable(value)})
        said: list[dict[str, float | None]] = [{} for _ in completions]
        dense = any(map(is_dense, self.functions.values()))
        tokens = [[0.0] * len(ids) for ids in completion_ids]
        for (name, values), weight in zip(returned.items(), self.weights, strict=True):
            if isinstance(values, torch.Tensor | np.ndarray):
                values = values.tolist()
            elif isinstance(values, Iterable) and not isinstance(values, str | Mapping):
                values = list(values)
            if not isinstance(values, list) or len(values) != len(completions):
                found = f"{len(values)} values" if isinstance(values, list) else type(values).__name__
                raise HFDistillError(
                    f"the reward function {name!r} returned {found} for {len(completions)} completions: it must "
                    "return a list with one number, or None, for each"
                )
            if is_dense(self.functions[name]):
                earned = [_numbers(name, value, len(ids)) for value, ids in zip(values, completion_ids, strict=True)]
                values = [None if mine is None else sum(mine) for mine in earned]
                tokens = [
                    [value + weight * more for value, more in zip(row, mine or [0.0] * len(row), strict=True)]
                    for row, mine in zip(tokens, earned, strict=True)
                ]
            for row, value in zip(said, values, strict=True):
                row[name] = _number(name, value)
        return [Said(*both) for both in zip(said, tokens if dense else [None] * len(said), strict=True)]

    @functools.cached_property
    def _loop(self) -> asyncio.AbstractEventLoop:
        """One loop for all calls: what a function keeps open, for example a connection, belongs to it."""
        loop = asyncio.new_event_loop()
        threading.Thread(target=loop.run_forever, daemon=True).start()
        return loop

    def _awaited(self, coroutines: dict[str, Awaitable[Any]]) -> dict[str, Any]:
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


def as_function(
    func: Any, tokenizer: PreTrainedTokenizerBase | None, encoder: Encoder, policy: PreTrainedModel
) -> RewardFunction:
    """A reward function, or what is to be loaded or asked as one."""
    if isinstance(func, str) and is_path(func):
        func = load_function(func)
    if isinstance(func, str | PreTrainedModel):
        return ModelReward(open_reward_model(func), tokenizer, encoder, policy)
    if not callable(func) or isinstance(func, nn.Module | type):
        raise HFDistillError(f"{func!r} is no reward function, no reward model and no path of one")
    return func


def one_each(option: str, given: Any, default: Any, functions: int) -> list[Any]:
    """What an option says of each reward function."""
    values = (
        list(given)
        if isinstance(given, list | tuple)
        else [default if given is None else given] * (functions if given is None else 1)
    )
    if len(values) != functions:
        raise HFDistillError(f"{option} has {len(values)} entries for {functions} reward functions")
    return values


def _failed(name: str, error: BaseException) -> BaseException:
    if isinstance(error, HFDistillError):
        return error
    return HFDistillError(f"the reward function {name!r} raised {type(error).__name__}: {error}")


def is_dense(function: RewardFunction) -> bool:
    """Whether a reward function tells what each token earns."""
    return isinstance(function, Reward) and function.dense


def _numbers(name: str, values: Any, length: int) -> list[float] | None:
    """What each token of a completion earns; `None` where the function says nothing, or no finite number of one."""
    if values is None:
        return None
    if not isinstance(values, list | tuple) or len(values) != length:
        found = f"{len(values)} values" if isinstance(values, list | tuple) else type(values).__name__
        raise HFDistillError(
            f"token_rewards of the reward {name!r} returned {found} for a completion of {length} tokens: it must "
            "return a list with one number for each"
        )
    numbers = [_number(name, value) for value in values]
    return None if None in numbers else numbers


def _number(name: str, value: Any) -> float | None:
    try:
        return None if value is None or not math.isfinite(value) else float(value)
    except (TypeError, ValueError):
        raise HFDistillError(
            f"the reward function {name!r} returned {value!r} for a completion: it must be a number, or None"
        ) from None
