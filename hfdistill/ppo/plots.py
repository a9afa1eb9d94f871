"""Learning curve and diagnostics of a training."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ..plots import INK, OTHER, POLICY, WARMUP, legend_below, new_plot, save, share_limits


Log = Iterable[Mapping[str, Any]]

DIAGNOSTICS = {
    "policy/entropy_avg": "entropy (nats a token)",
    "policy/clipfrac_avg": "share of tokens clipped",
    "val/explained_variance": "explained variance of returns",
    "completions/mean_length": "length (tokens)",
    "objective/no_answer_rate": "share without an answer",
    "tokens_per_second": "tokens a second",
}


def curve(log_history: Log, name: str, steps_per_update: int, rollout_batch_size: int) -> tuple[list, list]:
    """A logged figure: episodes trained on, and its values."""
    points = [
        (entry["step"] / steps_per_update * rollout_batch_size, entry[name]) for entry in log_history if name in entry
    ]
    return [episodes for episodes, _ in points], [value for _, value in points]


def draw_learning_curve(
    log_history: Log, steps_per_update: int, rollout_batch_size: int, path: Path, validation: str
) -> None:
    """Draw what validation says, score and KL against episodes; `validation` says what greedy answers measure."""
    with new_plot(7, 4.8) as (plot, whole):
        whole.remove()
        upper, lower = plot.subplots(2, 1, sharex=True, height_ratios=(3, 2))
        right, shares, lines = lower.twinx(), [], []
        for target, name, label, look in (
            (upper, "eval_accuracy", f"greedy: {validation}", {"color": POLICY, "marker": "o"}),
            (upper, "eval_reward_score", "sampled: belief of the reward model", {"color": WARMUP, "marker": "s"}),
            (upper, "eval_agreement", "sampled: agreement with each other", {"color": OTHER, "marker": "^"}),
            (lower, "objective/scores", "score (sampled)", {"color": WARMUP}),
            (right, "objective/kl", "KL to what it began with (nats an answer)", {"color": INK, "linestyle": "--"}),
        ):
            episodes, values = curve(log_history, name, steps_per_update, rollout_batch_size)
            if episodes:
                lines += target.plot(episodes, values, label=label, linewidth=1.2, markersize=3.5, **look)
                shares += values if target is upper else []
        upper.set_ylim(*share_limits(shares))
        upper.set_ylabel("validation")
        lower.set_xlabel("episodes")
        lower.set_ylabel("score")
        right.set_ylabel("KL")
        right.set_ylim(bottom=0)
        for axes in (upper, lower, right):
            axes.tick_params(labelsize=9)
            axes.spines["top"].set_visible(False)
        for axes in (upper, lower):
            axes.spines["right"].set_visible(axes is lower)
        legend_below(plot, lines)
        save(plot, path)


def draw_diagnostics(log_history: Log, steps_per_update: int, rollout_batch_size: int, path: Path) -> None:
    """Draw what tells how a training went, against episodes: a panel for each of `DIAGNOSTICS`."""
    with new_plot(9, 4.5) as (plot, whole):
        whole.remove()
        for axes, (name, label) in zip(plot.subplots(2, 3).flat, DIAGNOSTICS.items(), strict=True):
            axes.plot(*curve(log_history, name, steps_per_update, rollout_batch_size), linewidth=1, color=OTHER)
            axes.set_title(label, loc="left", fontsize=9)
            axes.tick_params(labelsize=8)
            axes.spines[["top", "right"]].set_visible(False)
        plot.supxlabel("episodes", fontsize=9)
        save(plot, path)
