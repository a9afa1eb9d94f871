"""What lies under the accuracies of a table: how good the reward models are, and what every row cost."""

from collections.abc import Iterator, Sequence
from statistics import mean
from typing import Any

from ..artifacts.figures import is_interval
from ..kinds import LABELS, REWARD
from ..progress import clock
from .document import Block, Figures
from .evidence import MeasuredRow
from .numbers import NONE, count, magnitude, mean_share, points, range_of
from .pictures import draw_intervals


# Figures of a reward model by their headings, and where its manifest has them.
POS_NEG = ("validation", "pos_neg")
SHOWN = {
    "Pos/Pos": ("validation", "pos_pos"),
    "all pairs": ("all_answers", "pos_neg_of_all_pairs"),
    "AUC": ("all_answers", "auc"),
    "one answer": ("all_answers", "one"),
    "best by score": ("all_answers", "best"),
    "calibration error": ("validation", "calibration_error"),
    "score and length": ("all_answers", "length"),
}
LEGEND = (
    "Pos/Neg: how often the student's right answer scores above its wrong one (0.5 is chance); Pos/Pos: how often "
    "the teacher's right answer scores above the student's; all pairs: Pos/Neg over every pair of a question's "
    "samples; AUC: a right answer above a wrong one, whatever the question; one answer, best by score: how often a "
    "sample, and the one with the highest score, is right; calibration error: how far sigmoid(score) is from the "
    "share that is right; score and length: their rank correlation. Right and wrong are by the vote."
)


def reward_models(table: str, rows: Sequence[MeasuredRow]) -> Iterator[Block]:
    """Figures of the reward models on validation questions, a line for each model whatever rows share it."""
    lines: dict[tuple[str, ...], tuple[list[str], MeasuredRow]] = {}
    for row in rows:
        if made := row.figure(REWARD.name, "metrics"):
            names, _ = lines.setdefault(tuple(row.refs[seed][REWARD.name] for seed in made), ([], row))
            names.append(row.name)
    models = {", ".join(names): row for names, row in lines.values()}
    shown = {name: path for name, path in SHOWN.items() if any(_figure(row, path) for row in models.values())}
    if not any(_figure(row, POS_NEG) for row in models.values()):
        return
    first, *others = models.values()
    cells = []
    for name, row in models.items():
        pos_neg = [range_of(_figure(row, POS_NEG)), *([_less(row, first)] if others else [])]
        cells.append([name, *pos_neg, *(mean_share(_figure(row, path)) for path in shown.values())])
    caption = "Reward models on validation questions: mean over seeds, and of Pos/Neg the lowest and the highest"
    headings = ("rows", "Pos/Neg", *(["points to the first row, seeds above"] if others else []), *shown)
    yield Figures(caption, headings, cells, legend=LEGEND)
    if others and len(models) == len(rows):
        values = {name: _figure(row, POS_NEG) for name, row in models.items()}
        drawn = {
            name: {"value": mean(seeds), "low": min(seeds), "high": max(seeds)}
            for name, seeds in values.items()
            if seeds
        }
        yield draw_intervals(f"{table}-pos-neg", drawn, "Pos/Neg: mean, lowest and highest seed.", "Pos/Neg accuracy")


def _figure(row: MeasuredRow, path: tuple[str, ...]) -> list[float]:
    """A figure of a row's reward models as a number, of every seed that has it."""
    return list(_by_seed(row, path).values())


def _by_seed(row: MeasuredRow, path: tuple[str, ...]) -> dict[int, float]:
    found = row.figure(REWARD.name, "metrics", *path)
    return {seed: value["value"] if is_interval(value) else value for seed, value in found.items()}


def _less(row: MeasuredRow, first: MeasuredRow) -> str:
    """How Pos/Neg differs from the first model's, seed by seed."""
    ours, theirs = _by_seed(row, POS_NEG), _by_seed(first, POS_NEG)
    gains = [ours[seed] - theirs[seed] for seed in ours.keys() & theirs.keys()]
    if row is first or not gains:
        return NONE
    return f"{points(mean(gains))}, {sum(gain > 0 for gain in gains)} of {len(gains)}"


def costs(rows: Sequence[MeasuredRow]) -> Iterator[Block]:
    """What each row cost, as far as anything is known of it."""
    told = {row.name: _cost(row) for row in rows}
    columns = [name for name in next(iter(told.values())) if any(made[name] != NONE for made in told.values())]
    if columns:
        cells = [[name, *(made[column] for column in columns)] for name, made in told.items()]
        caption = "What each row cost, mean over seeds; what rows share counts in each"
        legend = (
            "Training time: minutes and seconds of every stage behind the row but labelling, beside whatever else the "
            "machine had to do."
        )
        yield Figures(caption, ("row", *columns), cells, legend=legend)


def _cost(row: MeasuredRow) -> dict[str, str]:
    episodes = row.trained("metrics", "episodes")
    batch = row.settings.get("rollout_batch_size")
    updates = row.trained("metrics", "updates") or {seed: n / batch for seed, n in episodes.items() if batch}
    seconds = [_training_seconds(made) for made in row.manifests.values()]
    return {
        "teacher's tokens": count(list(row.teacher_tokens.values())),
        "updates": count(list(updates.values())),
        "episodes": count(list(episodes.values())),
        "training time": clock(mean(seconds)) if any(seconds) else NONE,
        "FLOPs of the last stage": magnitude(list(row.trained("metrics", "flops").values())),
    }


def _training_seconds(manifests: dict[str, dict[str, Any]]) -> float:
    return sum(made.get("cost", {}).get("seconds", 0) for kind, made in manifests.items() if kind != LABELS.name)
