"""A training that goes on as if it had not been cut off, or says why it cannot."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch import nn
from transformers import PreTrainedModel, Trainer, TrainerCallback
from transformers.trainer import TRAINER_STATE_NAME
from transformers.trainer_callback import ExportableState

from ..errors import HFDistillError
from .best_checkpoint import find_best_again
from .saving import damage, file_names, last_checkpoint, read_note, say, why_not_resumed, writing


class Note(TrainerCallback, ExportableState):
    """What a checkpoint says of itself in `trainer_state.json`: its files, and what made it."""

    def __init__(self, trainer: Trainer):
        self.trainer = trainer

    def state(self) -> dict[str, Any]:
        """The note on the checkpoint that is being written."""
        trainer = self.trainer
        made = {"batch": trainer.get_total_train_batch_size(trainer.args), "processes": trainer.args.world_size}
        made |= {"sharding": sharding(trainer), "files": sorted(file_names(checkpoint_folder(trainer)))}
        return {"args": {}, "attributes": made}


class ResumableTrainer(Trainer):
    """A Trainer whose checkpoints are checked before it goes on from one.

    `train(resume_from_checkpoint=True)` goes on from the last whole checkpoint, if there is one. The best checkpoint
    is found again where a folder was moved, an evaluation before the first step is not repeated, and another number of
    processes is refused where it would change batches and schedule.
    """

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.add_callback(Note(self))

    def train(self, resume_from_checkpoint: str | bool | None = None, *args: Any, **kwargs: Any) -> Any:
        """Train as the Trainer does.

        Raises:
            [`~hfdistill.errors.HFDistillError`]: if the named checkpoint cannot be gone on from, or the disk is full.
        """
        if resume_from_checkpoint is True:
            resume_from_checkpoint = last_checkpoint(self.args.output_dir)
        elif resume_from_checkpoint and (fault := why_not_resumed(Path(resume_from_checkpoint))):
            raise HFDistillError(f"{resume_from_checkpoint} cannot be gone on from: {fault}")
        if resume_from_checkpoint:
            self._check_same_batches(Path(resume_from_checkpoint))
        if self.args.save_only_model and self.args.save_strategy != "no":
            say("save_only_model is set: checkpoints hold no optimizer, so a training that is cut off begins anew")
        return super().train(resume_from_checkpoint or None, *args, **kwargs)

    def _check_same_batches(self, checkpoint: Path) -> None:
        made, processes = read_note(checkpoint), self.args.world_size
        if not made:
            return
        way = f"start {made['processes']} processes as before, or delete {checkpoint.parent} to begin anew"
        if made["sharding"] != sharding(self) or (sharding(self) == "DeepSpeed" and made["processes"] != processes):
            now, before = sharding(self) or "no sharding", made["sharding"] or "no sharding"
            raise HFDistillError(
                f"{checkpoint} was written by {made['processes']} processes with {before}, and {processes} with {now} "
                f"cannot go on from it: {way}"
            )
        batch = self.get_total_train_batch_size(self.args)
        if made["batch"] != batch:
            raise HFDistillError(
                f"{checkpoint} was trained in batches of {made['batch']} over {made['processes']} processes, and "
                f"{processes} would go on in batches of {batch}, by another schedule: {way}"
            )

    def _init_training_state(
        self, max_steps: int, steps_per_epoch: int, epochs: int, resume_from_checkpoint: str | None, trial: Any
    ) -> tuple[int, int]:
        trained = super()._init_training_state(max_steps, steps_per_epoch, epochs, resume_from_checkpoint, trial)
        if resume_from_checkpoint is not None:
            find_best_again(self)
            if self.state.global_step >= max_steps:
                # Within a pass over the data, the Trainer would make one step more before it looks.
                return epochs, 0
        return trained

    def _load_callback_state(self) -> None:
        # The note is read, not restored.
        self.state.stateful_callbacks.pop("Note", None)
        super()._load_callback_state()
        self.state.stateful_callbacks["Note"] = {}

    def _evaluate(self, trial: Any, ignore_keys_for_eval: Any, skip_scheduler: bool = False) -> dict[str, float]:
        """A resumed run has evaluated at its start already: a second time would count for early stopping."""
        at_start = skip_scheduler
        evaluated = any(name.startswith("eval_") for entry in self.state.log_history for name in entry)
        if at_start and (evaluated or self.state.global_step > 0):
            return {}
        return super()._evaluate(trial, ignore_keys_for_eval, skip_scheduler)

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        folder = checkpoint_folder(self)
        if self.args.should_save:
            # One that is written again is not whole before it is written to its end.
            (folder / TRAINER_STATE_NAME).unlink(missing_ok=True)
        try:
            with writing(folder), own_names(self.model):
                super()._save_checkpoint(model, trial)
        except HFDistillError:
            shutil.rmtree(folder, ignore_errors=True)
            raise

    def _issue_warnings_after_load(self, load_result: Any) -> None:
        """Tied weights stand in a file once. What else is missing there would keep the values that it has."""
        if not isinstance(self.model, PreTrainedModel):
            return super()._issue_warnings_after_load(load_result)
        missing = sorted(set(load_result.missing_keys) - self.model.all_tied_weights_keys.keys())
        if missing:
            raise HFDistillError(
                f"a checkpoint in {self.args.output_dir} lacks {len(missing)} weights of the model, {missing[0]} "
                "among them: delete that folder to begin anew"
            )

    def _save_rng_state(self, output_dir: str) -> None:
        super()._save_rng_state(output_dir)
        # Every process writes one, and the note that comes next names them all.
        self.accelerator.wait_for_everyone()

    def _finalize_training(self, *args: Any, **kwargs: Any) -> Any:
        self.accelerator.wait_for_everyone()  # until the first has written the last checkpoint whole
        best = self.state.best_model_checkpoint
        if self.args.load_best_model_at_end and best is not None and (fault := damage(Path(best))):
            raise HFDistillError(
                f"{best} is the best checkpoint, and {fault}: start the same command again to publish the best of "
                "those that are left"
            )
        return super()._finalize_training(*args, **kwargs)


@contextmanager
def own_names(model: nn.Module) -> Iterator[None]:
    """Write weights under the names that the model has for them, by which the Trainer reads them again. transformers
    writes some families' (Gemma 3 with images) under those of the file that the model came from.
    """
    before = {name: value for name, value in vars(model).items() if name == "_weight_conversions"}
    model._weight_conversions = []
    try:
        yield
    finally:
        del model._weight_conversions
        vars(model).update(before)


def checkpoint_folder(trainer: Trainer) -> Path:
    """Where the checkpoint of the current step lies."""
    return Path(trainer.args.output_dir) / f"checkpoint-{trainer.state.global_step}"


def sharding(trainer: Trainer) -> str | None:
    """What spreads the weights over the processes, and has checkpoints of its own format."""
    return "DeepSpeed" if trainer.is_deepspeed_enabled else "FSDP" if trainer.is_fsdp_enabled else None
