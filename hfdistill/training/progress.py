"""A training's progress, as everything long shows it."""

from collections.abc import Sequence

from transformers import Trainer, TrainerCallback
from transformers.trainer_callback import PrinterCallback
from transformers.trainer_callback import ProgressCallback as TqdmCallback
from transformers.utils.logging import disable_progress_bar

from ..progress import Progress


class ProgressCallback(TrainerCallback):
    """Show a training's steps, and the logged figures named in `fields`, through [`~hfdistill.progress.Progress`]."""

    def __init__(self, stage: str, fields: Sequence[str] = ("loss",)):
        self.stage, self.fields = stage, tuple(fields)

    def on_train_begin(self, args, state, control, **kwargs):
        self.progress = Progress(
            self.stage, state.max_steps, "steps", done=state.global_step, enabled=state.is_world_process_zero
        )
        self.progress.__enter__()

    def on_step_end(self, args, state, control, **kwargs):
        self.progress.update(state.global_step)

    def on_log(self, args, state, control, logs=None, **kwargs):
        shown = {name.removeprefix("eval_"): logs[name] for name in self.fields if name in logs}
        if shown and state.global_step:
            self.progress.update(state.global_step, **shown)

    def on_train_end(self, args, state, control, **kwargs):
        self.progress.__exit__(None, None, None)


def show_progress(trainer: Trainer, stage: str, fields: Sequence[str] = ("loss",)) -> None:
    """Replace the trainer's own printing, and the bars of loading and saving, by [`ProgressCallback`]."""
    disable_progress_bar()
    trainer.remove_callback(PrinterCallback)
    trainer.remove_callback(TqdmCallback)
    trainer.add_callback(ProgressCallback(stage, fields))
