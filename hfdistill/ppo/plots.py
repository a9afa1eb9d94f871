"""Learning curve and diagnostics of a training."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ..plots import new_plot, save


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


def draw_learning_curve(log_history: Log, steps_per_update: int, rollout_batch_size: int, path: Path) -> None:
    """Draw what validation says, score and KL against episodes."""
    plot, axes = new_plot(7, 4)
    right = axes.twinx()
    lines = []
    for target, name, label, colour in (
        (axes, "eval_accuracy", "greedy validation accuracy", "tab:blue"),
        (axes, "eval_reward_score", "sampled answers: belief of the reward model", "tab:red"),
        (axes, "eval_agreement", "sampled answers: agreement", "tab:green"),
        (right, "objective/scores", "score (sampled)", "tab:orange"),
        (right, "objective/kl", "KL to the warm-up (nats an episode)", "tab:gray"),
    ):
        episodes, values = curve(log_history, name, steps_per_update, rollout_batch_size)
        if episodes:
            style = {"marker": "o", "markersize": 3} if target is axes else {"linewidth": 1}
            lines += target.plot(episodes, values, color=colour, label=label, **style)
    axes.set_xlabel("episodes")
    axes.set_ylabel("validation")
    axes.set_ylim(0, 1.02)
    right.set_ylabel("score, KL")
    right.spines["top"].set_visible(False)
    axes.legend(lines, [line.get_label() for line in lines], loc="lower right", fontsize=8, frameon=False)
    save(plot, path)


def draw_diagnostics(log_history: Log, steps_per_update: int, rollout_batch_size: int, path: Path) -> None:
    """Draw what tells how a training went, against episodes: a panel for each of `DIAGNOSTICS`."""
    plot, whole = new_plot(9, 4.5)
    whole.remove()
    for axes, (name, label) in zip(plot.subplots(2, 3).flat, DIAGNOSTICS.items(), strict=True):
        axes.plot(*curve(log_history, name, steps_per_update, rollout_batch_size), linewidth=1)
        axes.set_title(label, loc="left", fontsize=9)
        axes.tick_params(labelsize=8)
        axes.spines[["top", "right"]].set_visible(False)
    plot.supxlabel("episodes", fontsize=9)
    save(plot, path)
