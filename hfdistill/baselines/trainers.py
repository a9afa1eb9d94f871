"""TRL's trainers as they are, but for what every training here does: greedy validation, and going on when cut off."""

import warnings
from typing import Any

from transformers.trainer_utils import EvalLoopOutput
from trl import DistillationTrainer, GRPOTrainer, RLOOTrainer

from ..training.adapters import inner_model
from ..training.best_checkpoint import EarlyStopping, enter_untrained
from ..training.global_batch import check_one_gpu
from ..training.resuming import ResumableTrainer
from ..training.whole import WholeModel
from ..warmup.trainer import WarmupTrainer
from ..warmup.validation import Validation


# TRL reads a property by its old name at each generation, which a user can do nothing about.
warnings.filterwarnings("ignore", r"`is_gradient_checkpointing` is deprecated", FutureWarning)


class FromWarmup(ResumableTrainer):
    """A training whose first model, the warm-up, takes part in the choice of the best checkpoint."""

    def _evaluate(self, trial: Any, ignore_keys_for_eval: Any, skip_scheduler: bool = False) -> dict[str, float]:
        at_start = skip_scheduler
        metrics = super()._evaluate(trial, ignore_keys_for_eval, skip_scheduler)
        if at_start and metrics and self.args.load_best_model_at_end:
            enter_untrained(self, metrics, trial)
        return metrics


class Validated(FromWarmup):
    """The checkpoint is chosen by greedy accuracy on validation questions.

    Args:
        validation ([`~hfdistill.warmup.validation.Validation`]): gives the figures.
        early_stopping_patience (`int`, *optional*): evaluations without a better accuracy before the training ends.
        args, kwargs: those of TRL's trainer.
    """

    def __init__(self, *args: Any, validation: Validation, early_stopping_patience: int | None = None, **kwargs: Any):
        check_one_gpu(kwargs["args"])
        super().__init__(*args, **kwargs)
        self.validation = validation
        self.whole = WholeModel(self.model, self.accelerator)
        if self.whole.copy is not None:
            # TRL wraps `forward` of the model it was given, and a copy's would run that one.
            vars(inner_model(self.whole.copy)).pop("forward", None)
        if early_stopping_patience is not None:
            self.add_callback(EarlyStopping(early_stopping_patience))

    def evaluation_loop(
        self, dataloader: Any, description: str, *args: Any, metric_key_prefix: str = "eval", **kwargs: Any
    ) -> EvalLoopOutput:
        """Answer the validation questions greedily."""
        # TRL tells by it whose log this is.
        self.model.eval()
        with self.whole.gathered() as model, self.accelerator.autocast():
            figures = self.validation.figures(model, self.args.process_index, self.args.world_size)
        self.model.eval()
        metrics = {f"{metric_key_prefix}_{name}": value for name, value in figures.items()}
        return EvalLoopOutput(None, None, metrics, len(self.validation.questions))

    def create_model_card(self, *args: Any, **kwargs: Any) -> None:
        """Write no card: the stage's own goes with what it publishes."""

    def _send_telemetry(self) -> None:
        """Send none."""


class GRPOBaseline(Validated, GRPOTrainer):
    """[`~trl.GRPOTrainer`] with greedy validation."""


class RLOOBaseline(Validated, RLOOTrainer):
    """[`~trl.RLOOTrainer`] with greedy validation."""


class DistillationBaseline(Validated, DistillationTrainer):
    """[`~trl.DistillationTrainer`] with greedy validation."""


class ImitationBaseline(FromWarmup, WarmupTrainer):
    """The warm-up's trainer, going on from the warm-up."""
