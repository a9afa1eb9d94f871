"""Settings of the warm-up."""

from dataclasses import dataclass, field

from trl import SFTConfig

from ..errors import HFDistillError
from ..fields import PARENT, check_choices, decides, section
from ..tasks.base import Task
from ..training.arguments import EFFECTS_OF_BATCHES, validates
from ..training.best_checkpoint import ACCURACY, LIKELIHOOD
from ..training.global_batch import divide_global_batch
from ..training.loading import load_whole, settle_bf16


@section(inherited=EFFECTS_OF_BATCHES)
@dataclass
class WarmupConfig(SFTConfig):
    r"""Section `warmup`: what the student learns from, and how.

    Every field of [`~trl.SFTConfig`] is one too; those listed last have other defaults here, the paper's
    (Appendix B.2).

    Args:
        labels (`str`, *optional*): the teacher's labelled responses; `{run}-labels` by default.
        data (`str`, *optional*, defaults to `"labelled"`): `"labelled"` takes the responses whose answer is the
            pseudo-label, of high and low confidence. `"all"` takes every response: the paper's row "SFT".
        deduplicate (`bool`, *optional*, defaults to `True`): keep identical responses to a question once.
        max_per_question (`int`, *optional*): most responses a question, drawn at random; all by default.
        validation_labels (`str`, *optional*, defaults to `"pseudo"`): what validation answers are compared with.
            `"gold"` reads the task's gold answers for that, and for nothing else.
        max_validation (`int`, *optional*): most validation questions; all by default.
        early_stopping_patience (`int`, *optional*, defaults to 2): validations without a better accuracy after which
            the training stops; 0 never stops it.
        global_batch_size (`int`, *optional*): examples an update, over all processes. `per_device_train_batch_size` is
            then the most that a process computes at once, accumulation follows, and an epoch's last update is filled
            up with its first examples. Without it an update takes that many of each process, times
            `gradient_accumulation_steps`.
        learning_rate (`float`, *optional*, defaults to 5e-6), num_train_epochs (`float`, *optional*, defaults to 4),
            max_length (`int`, *optional*, defaults to 512): as in `SFTConfig`, but a longer example is left out
            instead of cut, since it would end without its answer.
        per_device_eval_batch_size (`int`, *optional*, defaults to 256): validation answers generated at once.
        eval_strategy (`str`, *optional*, defaults to `"epoch"`): when to validate: by greedy accuracy, or in an
            open-ended task by how probable a token of the good responses to validation questions is. With `"no"` the
            last checkpoint is published.
        gradient_checkpointing (`bool`, *optional*): saves memory for about 30 % more computing.
        bf16 (`bool`, *optional*): on where the processor is fast at it, by default.
    """

    labels: str | None = field(default=None, metadata=PARENT)
    data: str = "labelled"
    deduplicate: bool = True
    max_per_question: int | None = None
    validation_labels: str = "pseudo"
    max_validation: int | None = None
    early_stopping_patience: int = field(default=2, metadata=decides(when=validates))
    global_batch_size: int | None = field(default=None, metadata=decides(if_changed=True))

    learning_rate: float = 5e-6
    num_train_epochs: float = 4.0
    max_length: int | None = 512
    per_device_eval_batch_size: int = 256
    eval_strategy: str = "epoch"
    save_strategy: str = "epoch"
    save_total_limit: int | None = 2
    load_best_model_at_end: bool = True
    metric_for_best_model: str | None = ACCURACY
    greater_is_better: bool | None = True
    ddp_find_unused_parameters: bool | None = False
    gradient_checkpointing: bool | None = None
    bf16: bool | None = None

    def __post_init__(self):
        if self.eval_strategy == "no":  # nothing chooses a checkpoint, and the last one is published
            self.load_best_model_at_end = False
        settle_bf16(self)
        super().__post_init__()
        load_whole()
        divide_global_batch("warmup", self)
        for name in ("packing", "padding_free"):
            if vars(self)[name]:
                raise HFDistillError(
                    f"warmup.{name} would let an example attend to those beside it: leave it out; with "
                    "warmup.global_batch_size examples of like length are computed together, which saves padding, too"
                )
        check_choices("warmup.", self, data=("labelled", "all"), validation_labels=("pseudo", "gold"))

    def settle_task(self, task: Task) -> None:
        """Choose the checkpoint of an open-ended task by likelihood, as its answers cannot be compared."""
        if not task.open_ended:
            return
        if self.validation_labels == "gold":
            raise HFDistillError(
                f"warmup.validation_labels is 'gold', and task {task.name!r} is open-ended, so that no answer can be "
                "compared with a gold one: leave it out"
            )
        if self.metric_for_best_model == ACCURACY:
            self.metric_for_best_model = LIKELIHOOD
