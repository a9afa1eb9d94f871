"""What lies under the accuracies of a table: how good the reward models are, and what every row cost."""

from collections.abc import Iterator, Sequence
from statistics import mean
from typing import Any

from ..artifacts.figures import is_interval, label
from ..kinds import LABELS, REWARD
from ..progress import clock
from .document import Block, Figures
from .evidence import MeasuredRow
from .numbers import NONE, count, magnitude, range_of
from .pictures import draw_intervals


# Figures on validation questions, with their names in a heading.
SHOWN = ("pos_neg", "pos_pos", "auc", "best_of_n", "calibration_error")
HEADINGS = {"pos_neg": "Pos/Neg", "pos_pos": "Pos/Pos", "auc": "AUC"}


def reward_models(table: str, rows: Sequence[MeasuredRow]) -> Iterator[Block]:
    """Figures of the reward models on validation questions, a line for each model whatever rows share it."""
    names: dict[tuple[str, ...], list[str]] = {}
    figures: dict[tuple[str, ...], dict[str, list[float]]] = {}
    for row in rows:
        by_seed = row.figure(REWARD.name, "metrics", "validation")
        if by_seed:
            which = tuple(row.refs[seed][REWARD.name] for seed in by_seed)
            names.setdefault(which, []).append(row.name)
            figures[which] = {
                name: [_plain(made[name]) for made in by_seed.values() if name in made] for name in SHOWN
            }
    shown = [name for name in SHOWN if any(made[name] for made in figures.values())]
    if not shown:
        return
    caption = "Reward models on validation questions: mean over seeds [lowest, highest]"
    cells = [[", ".join(names[which]), *(range_of(made[name]) for name in shown)] for which, made in figures.items()]
    yield Figures(caption, ("rows", *(HEADINGS.get(name, label((name,))) for name in shown)), cells)
    drawn = {
        ", ".join(names[which]): {"value": mean(seeds), "low": min(seeds), "high": max(seeds)}
        for which, made in figures.items()
        if (seeds := made["pos_neg"])
    }
    if len(drawn) > 1:
        yield draw_intervals(f"{table}-pos-neg", drawn, "Pos/Neg: mean, lowest and highest seed.", "Pos/Neg accuracy")


def costs(rows: Sequence[MeasuredRow]) -> Iterator[Block]:
    """What each row cost."""
    cells = []
    for row in rows:
        episodes = row.trained("metrics", "episodes")
        batch = row.settings.get("rollout_batch_size")
        updates = row.trained("metrics", "updates") or {seed: n / batch for seed, n in episodes.items() if batch}
        counts = [count(list(made.values())) for made in (row.teacher_tokens, updates, episodes)]
        seconds = [_training_seconds(made) for made in row.manifests.values()]
        took = clock(mean(seconds)) if any(seconds) else NONE
        cells.append([row.name, *counts, took, magnitude(list(row.trained("metrics", "flops").values()))])
    if any(cell != NONE for row in cells for cell in row[1:]):
        columns = ("teacher's tokens", "updates", "episodes", "training time", "FLOPs of the last stage")
        yield Figures("What each row cost, mean over seeds; what rows share counts in each", ("row", *columns), cells)


def _training_seconds(manifests: dict[str, dict[str, Any]]) -> float:
    return sum(made.get("cost", {}).get("seconds", 0) for kind, made in manifests.items() if kind != LABELS.name)


def _plain(value: Any) -> float:
    return value["value"] if is_interval(value) else value
