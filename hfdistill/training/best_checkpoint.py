"""Which checkpoint a training publishes, and when it stops.

The Trainer saves at each evaluation and loads the best in the end (`load_best_model_at_end`): the one with the largest
`metric_for_best_model`. That is greedy validation accuracy in the warm-up (`warmup/validation.py`) and in PPO
(`PPOTrainer.evaluation_loop`), where the untouched warm-up takes part as step 0, and the share of validation pairs in
the right order in the reward model (`reward/figures.py`).
"""

from transformers import EarlyStoppingCallback


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
