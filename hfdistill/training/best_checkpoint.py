"""Which checkpoint a training publishes, and when it stops.

The Trainer saves at each evaluation and loads in the end (`load_best_model_at_end`) the checkpoint with the largest
figure (`metric_for_best_model`), the earlier one of equals. Each training's configuration takes its figure from here.
"""

from pathlib import Path
from typing import Any

from transformers import EarlyStoppingCallback, Trainer


# Share of validation questions answered right, greedily: of the warm-up (warmup/validation.py) and of PPO.
ACCURACY = "accuracy"
# Share of validation pairs whose right response scores higher: of the reward model (reward/figures.py).
POS_NEG = "pos_neg"


def enter_untrained(trainer: Trainer, metrics: dict[str, float], trial: Any) -> None:
    """Let the model before its first step take part in the choice, as `checkpoint-0`: PPO may make it worse."""
    trainer._determine_best_metric(metrics, trial)
    trainer._save_checkpoint(trainer.model_wrapped, trial)
    trainer.state.best_model_checkpoint = str(Path(trainer.args.output_dir) / "checkpoint-0")


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
        name = args.metric_for_best_model
        name = name if name.startswith("eval_") else f"eval_{name}"
        best, self.early_stopping_patience_counter = None, 0
        for value in (entry[name] for entry in state.log_history if name in entry):
            if best is None or (value > best if args.greater_is_better else value < best):
                best, self.early_stopping_patience_counter = value, 0
            else:
                self.early_stopping_patience_counter += 1

    def on_evaluate(self, args, state, control, metrics, **kwargs):
        at_the_end = control.should_training_stop
        super().on_evaluate(args, state, control, metrics, **kwargs)
        if control.should_training_stop and not at_the_end:
            control.should_save = False
