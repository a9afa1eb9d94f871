"""Which checkpoint a training publishes, and when it stops.

The Trainer saves at each evaluation and loads in the end (`load_best_model_at_end`) the checkpoint with the largest
figure (`metric_for_best_model`), the earlier one of equals. Each training's configuration takes its figure from here.
"""

from pathlib import Path
from typing import Any

from transformers import EarlyStoppingCallback, Trainer, TrainerState, TrainingArguments

from .saving import damage, say


# Share of validation questions answered right, greedily: of the warm-up (warmup/validation.py) and of PPO.
ACCURACY = "accuracy"
# Of the warm-up to an open-ended task: the probability of a token of good responses (warmup/validation.py).
LIKELIHOOD = "likelihood"
# Of PPO, without labels: how far the reward model believes sampled answers, and these each other (ppo/yardsticks.py).
REWARD_SCORE, AGREEMENT = "reward_score", "agreement"
# Share of validation pairs whose right response scores higher: of the reward model (reward/figures.py).
POS_NEG = "pos_neg"


def enter_untrained(trainer: Trainer, metrics: dict[str, float], trial: Any) -> None:
    """Let the model before its first step take part in the choice, as `checkpoint-0`: PPO may make it worse."""
    trainer._determine_best_metric(metrics, trial)
    trainer._save_checkpoint(trainer.model_wrapped, trial)
    trainer.state.best_model_checkpoint = str(Path(trainer.args.output_dir) / "checkpoint-0")


def find_best_again(trainer: Trainer) -> None:
    """After a resume, find the best checkpoint in the folder as it lies now, or else the best of those that are left.

    A state names it by the path that it had.
    """
    state, args = trainer.state, trainer.args
    if not args.load_best_model_at_end or state.best_global_step is None:
        return

    def folder(step: int) -> Path:
        return Path(args.output_dir) / f"checkpoint-{step}"

    fault = damage(folder(state.best_global_step))
    if fault is not None:
        lost = folder(state.best_global_step)
        left = {step: value for step, value in chosen_by(args, state).items() if damage(folder(step)) is None}
        sign = 1 if args.greater_is_better else -1
        state.best_global_step = max(left, key=lambda step: (sign * left[step], -step), default=None)
        state.best_metric = left.get(state.best_global_step)
        instead = folder(state.best_global_step).name if left else "no checkpoint yet"
        say(f"{lost} was the best checkpoint, and {fault}: the best of those that are left is {instead}")
    best = state.best_global_step
    state.best_model_checkpoint = None if best is None else str(folder(best))


def chosen_by(args: TrainingArguments, state: TrainerState) -> dict[int, float]:
    """The figure that chooses the checkpoint, by the step of each evaluation."""
    name = f"eval_{args.metric_for_best_model.removeprefix('eval_')}"
    return {entry["step"]: entry[name] for entry in state.log_history if name in entry}


def published_figure(trainer: Trainer, name: str) -> float | None:
    """A validation figure of the checkpoint that is published, the best one or the last; `None` without one."""
    state, chooses = trainer.state, trainer.args.load_best_model_at_end
    figures = {entry["step"]: entry[f"eval_{name}"] for entry in state.log_history if f"eval_{name}" in entry}
    return figures.get(state.best_global_step if chooses else state.global_step)


class EarlyStopping(EarlyStoppingCallback):
    """Stop when the validation figure has not improved for `early_stopping_patience` evaluations.

    The evaluation that stops the training saves no checkpoint. A process killed after it would resume from that
    checkpoint and train on; so it resumes before it, evaluates again, and stops where it stopped.
    """

    def on_train_begin(self, args, state, control, **kwargs):
        super().on_train_begin(args, state, control, **kwargs)
        # After a resume: how often the figure had not improved when the checkpoint was written.
        best, self.early_stopping_patience_counter = None, 0
        for value in chosen_by(args, state).values():
            if best is None or (value > best if args.greater_is_better else value < best):
                best, self.early_stopping_patience_counter = value, 0
            else:
                self.early_stopping_patience_counter += 1

    def on_evaluate(self, args, state, control, metrics, **kwargs):
        at_the_end = control.should_training_stop
        super().on_evaluate(args, state, control, metrics, **kwargs)
        if control.should_training_stop and not at_the_end:
            control.should_save = False
