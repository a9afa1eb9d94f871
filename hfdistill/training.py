"""What the training stages share: progress, early stop, the checkpoint to resume from, work split among processes."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

import torch
from transformers import EarlyStoppingCallback, PreTrainedModel, PreTrainedTokenizerBase, Trainer, TrainerCallback
from transformers.trainer_callback import PrinterCallback
from transformers.trainer_callback import ProgressCallback as TqdmCallback
from transformers.utils.logging import disable_progress_bar

from .progress import Progress


T = TypeVar("T")


def training_dtype(dtype: str) -> str:
    """The dtype to load a model in for training: fp32 where nothing else is asked for.

    Steps of 1e-5 of a weight are lost in bf16; mixed precision computes in bf16 and keeps the weights in fp32.
    """
    return "float32" if dtype == "auto" else dtype


class ProgressCallback(TrainerCallback):
    """Show a training's steps, loss and evaluation figures through [`~hfdistill.progress.Progress`].

    Args:
        stage (`str`): name of the stage, as shown.
        fields (`Sequence[str]`, *optional*): logged figures worth showing, by their names in the log.
    """

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


def show_progress(trainer: Trainer, stage: str, fields: Sequence[str] = ("loss",)) -> None:
    """Replace the trainer's own printing, and the bars of loading and saving, by [`ProgressCallback`]."""
    disable_progress_bar()
    trainer.remove_callback(PrinterCallback)
    trainer.remove_callback(TqdmCallback)
    trainer.add_callback(ProgressCallback(stage, fields))


def last_checkpoint(output_dir: str | Path) -> str | None:
    """The newest whole checkpoint in a folder, or `None`.

    `trainer_state.json` is the last file that a checkpoint gets, so a folder without a readable one was cut off while
    it was written, and is passed over.
    """
    folders = [path for path in Path(output_dir).glob("checkpoint-*") if path.name.split("-")[-1].isdigit()]
    for folder in sorted(folders, key=lambda path: int(path.name.split("-")[-1]), reverse=True):
        try:
            json.loads((folder / "trainer_state.json").read_text(encoding="utf-8"))
        except (FileNotFoundError, json.JSONDecodeError):
            continue
        return str(folder)
    return None


def save_model(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, folder: str | Path) -> None:
    """Save what others load: safetensors, config and tokenizer, and nothing pickled."""
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def save_trained(trainer: Trainer, folder: str | Path) -> None:
    """Save a trainer's model like [`save_model`], also where its weights are spread over the processes.

    Every process calls it.
    """
    trainer.save_model(str(folder))
    if trainer.args.should_save:
        # Pickled, and of use to nobody but the trainer.
        (Path(folder) / "training_args.bin").unlink()


def my_share(items: Sequence[T], rank: int, processes: int) -> list[T]:
    """This process's items: every `processes`-th, which evens out lengths that grow or shrink along the list."""
    return list(items[rank::processes])


def gather_shares(mine: Sequence[T], processes: int) -> list[T]:
    """Put the results of [`my_share`] of all processes together in the order of the items, on every process."""
    if processes == 1:
        return list(mine)
    shares: list[list[T]] = [[] for _ in range(processes)]
    torch.distributed.all_gather_object(shares, list(mine))
    merged: list[T | None] = [None] * sum(len(share) for share in shares)
    for rank, share in enumerate(shares):
        merged[rank::processes] = share
    return merged
