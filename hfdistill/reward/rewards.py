"""Rewards by name; Eq. 7 is `distilled.py`. Each is called as TRL's GRPO and RLOO trainers call theirs."""

from __future__ import annotations

import importlib
import math
import os
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import yaml

from ..errors import HFDistillError
from ..plugins import build, installed, plugin_class, resolved
from ..tasks.base import Task


if TYPE_CHECKING:
    from .model import RewardScorer

GROUP = "hfdistill.rewards"

BUILT_IN = {
    "brief": "hfdistill.reward.brief:brief",
    "clipped": "hfdistill.reward.clipped:ClippedReward",
    "delta": "hfdistill.reward.delta:DeltaReward",
    "distilled": "hfdistill.reward.distilled:DistilledReward",
    "pessimistic": "hfdistill.reward.distilled:PessimisticReward",
    "stratified": "hfdistill.reward.stratified:StratifiedReward",
    "vote": "hfdistill.reward.vote:VoteReward",
}


class Reward(ABC):
    """A reward with options. Subclasses are dataclasses whose fields are the options of their entry; what has none may
    as well be a plain function.

    Attributes:
        asks_model (`bool`): whether it needs the reward model, which is loaded only for those that do.
        dense (`bool`): whether it also says what each token earns, by `token_rewards` with the arguments of a call:
            a list a completion, one number a token, whose sum is what the call gives.
        task ([`~hfdistill.tasks.base.Task`]), scorer ([`~hfdistill.reward.model.RewardScorer`] or `None`), few_shot
            (`bool`): what [`~Reward.prepare`] was given.
    """

    name: ClassVar[str] = ""
    asks_model: ClassVar[bool] = False
    dense: ClassVar[bool] = False

    @property
    def __name__(self) -> str:
        """What logs call it, ours and TRL's."""
        return self.name

    def prepare(self, task: Task, scorer: RewardScorer | None = None, few_shot: bool = False) -> Reward:
        """Give it what it may need, once and before it is asked.

        Args:
            task ([`~hfdistill.tasks.base.Task`]): reads answers.
            scorer ([`~hfdistill.reward.model.RewardScorer`], *optional*): the reward model, if `asks_model`.
            few_shot (`bool`, *optional*, defaults to `False`): whether prompts hold worked examples.
        """
        self.task, self.scorer, self.few_shot = task, scorer, few_shot
        self.questions = {question.question_id: question for question in task.questions()}
        return self

    def check_number(self, option: str, least: float = -math.inf, below: float = math.inf) -> None:
        """Refuse what is no finite number, is less than `least`, or is not `below`."""
        value = vars(self)[option]
        number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
        if not number or value < least or value >= below:
            bounds = [f"{least:g} or more"] * (least > -math.inf) + [f"below {below:g}"] * (below < math.inf)
            raise HFDistillError(
                f"{option} of reward {self.name} is {value!r}: it must be a number{', ' * bool(bounds)}"
                f"{' and '.join(bounds)}"
            )

    def answers(self, completions: Sequence[Any], question_id: Sequence[str]) -> list[str | None]:
        """Canonical answers of the completions, `None` where none can be extracted."""
        return [
            self.task.extract(text_of(completion), self.questions[key]).value
            for completion, key in zip(completions, question_id, strict=True)
        ]

    def log_agreement(
        self,
        answers: Sequence[str | None],
        pseudo_label: Sequence[str | None],
        log_metric: Callable[[str, float], None] | None,
    ) -> None:
        """Log the share of completions without an answer, and the share of those with a y* that agree with it."""
        if log_metric is None or not answers:
            return
        log_metric("objective/no_answer_rate", sum(answer is None for answer in answers) / len(answers))
        labelled = [
            self.task.correct(answer, label)
            for answer, label in zip(answers, pseudo_label, strict=True)
            if label is not None
        ]
        if labelled:
            log_metric("objective/pseudo_label_rate", sum(labelled) / len(labelled))

    @abstractmethod
    def __call__(
        self, prompts: Sequence[Any], completions: Sequence[Any], completion_ids: Sequence[list[int]], **columns: Any
    ) -> list[float | None]:
        """Rewards of completions.

        Args:
            prompts (`Sequence`): text or messages.
            completions (`Sequence`): text, or the assistant's messages; see [`text_of`].
            completion_ids (`Sequence[list[int]]`): their ids, with the end token where it was sampled.
            columns: every other column of the dataset, `trainer_state`, `log_metric` (`f(name, value)`) and
                `log_extra` (`f(name, values)`).

        Returns:
            `list[float | None]`: one for each; `None` where there is nothing to say.
        """


def installed_rewards() -> dict[str, str]:
    """Names of all rewards with where each comes from, `module:Class` or `module:function`; nothing is imported."""
    return installed(GROUP, BUILT_IN)


def read_entry(entry: str | dict[str, Any]) -> tuple[dict[str, Any], float]:
    """An entry of `ppo.rewards`, a name (`distilled`), `module:function`, or a mapping with options, read or still in
    YAML (`"{name: brief, weight: 0.1}"`): the section of its reward, and its weight.
    """
    try:
        section = yaml.safe_load(entry) if isinstance(entry, str) and entry.lstrip().startswith("{") else entry
    except yaml.YAMLError as error:
        raise HFDistillError(f"{entry!r} is no YAML mapping: {' '.join(str(error).split())}") from error
    if isinstance(section, str):
        section = {"name": section}
    if not isinstance(section, dict) or not isinstance(section.get("name"), str):
        raise HFDistillError(
            f"ppo.rewards holds {entry!r}: an entry is a name, or a mapping such as {{name: brief, weight: 0.1}}"
        )
    section = dict(section)
    weight = section.pop("weight", 1.0)
    if isinstance(weight, bool) or not isinstance(weight, int | float) or not math.isfinite(weight):
        raise HFDistillError(f"the weight of reward {section['name']} is {weight!r}: it must be a number")
    return section, float(weight)


def resolved_entry(entry: str | dict[str, Any]) -> dict[str, Any]:
    """The same with its weight and every option, as far as they can be told without the user's own modules."""
    section, weight = read_entry(entry)
    if not is_path(section["name"]):
        reward = load_reward(section)
        if isinstance(reward, Reward):
            section |= resolved(section, reward)
    return {**section, "weight": weight}


def check_rewards(entries: Sequence[str | dict[str, Any]]) -> list[float]:
    """Refuse unknown names and options as far as they can be told without the user's own modules; the weights."""
    if not entries:
        raise HFDistillError("ppo.rewards is empty: PPO needs at least one reward, for example distilled")
    return [resolved_entry(entry)["weight"] for entry in entries]


def needs_model(entries: Sequence[str | dict[str, Any]]) -> bool:
    """Whether one of these rewards asks the reward model, as far as it can be told without the user's own modules."""
    sections = [read_entry(entry)[0] for entry in entries]
    rewards = [load_reward(section) for section in sections if not is_path(section["name"])]
    return any(isinstance(reward, Reward) and reward.asks_model for reward in rewards)


def asks_vote(entries: Sequence[str | dict[str, Any]]) -> bool:
    """Whether one of these rewards is the vote alone, which says nothing of responses to an open-ended task."""
    return any(read_entry(entry)[0]["name"] == "vote" for entry in entries)


def load_reward(section: dict[str, Any]) -> Callable[..., list[float | None]]:
    """The reward of a section such as `{"name": "distilled", "variant": "minus"}`, not yet prepared."""
    name, known = section["name"], installed_rewards()
    if is_path(name):
        known = {name: name}
        found = load_function(name)
    else:
        found = plugin_class("reward", name, known)
    if isinstance(found, type):
        return build("reward", section, known)
    if len(section) > 1:
        raise HFDistillError(f"reward {name} is a function and has no options but weight: {', '.join([*section][1:])}")
    return found


def load_rewards(
    entries: Sequence[str | dict[str, Any]], task: Task, scorer: Callable[[], RewardScorer], few_shot: bool = False
) -> list[Callable[..., list[float | None]]]:
    """The rewards of `ppo.rewards`, prepared; `scorer` loads the reward model, where one of them asks it."""
    rewards = [load_reward(read_entry(entry)[0]) for entry in entries]
    classes = [reward for reward in rewards if isinstance(reward, Reward)]
    model = scorer() if any(reward.asks_model for reward in classes) else None
    for reward in classes:
        reward.prepare(task, model, few_shot)
    return rewards


def is_path(name: str) -> bool:
    """Whether a reward's name is `module:function`, where it is loaded from."""
    return ":" in name


def load_function(path: str) -> Callable[..., Any]:
    """What `"module:function"` names; modules in the working directory are found, too."""
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())
    module, _, name = path.partition(":")
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise HFDistillError(f"the reward {path!r} cannot be loaded: {error}; it reads module:function") from error


def text_of(completion: str | Sequence[dict[str, str]]) -> str:
    """A completion as text: itself, or the last of its messages."""
    return completion if isinstance(completion, str) else completion[-1]["content"]
