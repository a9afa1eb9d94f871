"""Sampled episodes, shown to people: figures hide a policy that found a trick."""

import math
import sys
from pathlib import Path
from typing import Any, NamedTuple


class ShownEpisode(NamedTuple):
    """One sampled episode: what each reward function said about it, their weighted sum less penalties, and what they
    gave to `log_extra`, by column; its `number` is its place in the update.
    """

    number: int
    prompt: Any
    completion: Any
    said: dict[str, float | None]
    score: float | None
    extra: dict[str, Any]


def print_episode(step: int, episode: ShownEpisode) -> None:
    """Print one, as plain text."""
    print(f"step {step}, sampled, score {episode.score}:\n{episode.prompt}\n{episode.completion}")
    for name, value in episode.extra.items():
        print(f"{name}: {value}")
    sys.stdout.flush()


def log_completions(step: int, episodes: list[ShownEpisode], folder: str | Path, number: int | None) -> None:
    """Print a table of so many episodes, all by default, and write all to `completions/completions_STEP.parquet`, both
    as TRL's trainers do.
    """
    from datasets import Dataset
    from trl.trainer.utils import print_prompt_completions_sample

    prompts, completions = [one.prompt for one in episodes], [one.completion for one in episodes]
    names = [*episodes[0].said, *(["score"] if len(episodes[0].said) > 1 else [])]
    rewards = {name: [{"score": one.score, **one.said}[name] for one in episodes] for name in names}
    columns = dict.fromkeys(name for one in episodes for name in one.extra)
    extra = {name: [str(one.extra.get(name, "")) for one in episodes] for name in columns}
    printed = {name: [math.nan if value is None else value for value in values] for name, values in rewards.items()}
    print_prompt_completions_sample(prompts, completions, printed, None, step, number, extra)
    table = {"step": [step] * len(episodes), "prompt": prompts, "completion": completions, **rewards, **extra}
    path = Path(folder) / "completions" / f"completions_{step:05d}.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    Dataset.from_dict(table).to_parquet(path)
