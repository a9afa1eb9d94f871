"""Settings of the warm-up."""

from dataclasses import dataclass, field

import torch
from trl import SFTConfig

from ..errors import HFDistillError
from ..training.loading import load_whole


DATA = ("labelled", "all")


VALIDATION_LABELS = ("pseudo", "gold")


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
        learning_rate (`float`, *optional*, defaults to 5e-6), num_train_epochs (`float`, *optional*, defaults to 4),
            max_length (`int`, *optional*, defaults to 512): as in `SFTConfig`, but a longer example is left out
            instead of cut, since it would end without its answer.
        gradient_checkpointing (`bool`, *optional*): saves memory for about 30 % more computing.
        bf16 (`bool`, *optional*): on where the GPU knows it, by default.
    """

    labels: str | None = field(default=None, metadata={"help": "The teacher's labelled responses."})
    data: str = field(default="labelled", metadata={"help": "labelled, or all: every response, unfiltered."})
    deduplicate: bool = field(default=True, metadata={"help": "Keep identical responses to a question once."})
    max_per_question: int | None = field(default=None, metadata={"help": "Most responses a question."})
    validation_labels: str = field(default="pseudo", metadata={"help": "pseudo or gold."})
    max_validation: int | None = field(default=None, metadata={"help": "Most validation questions."})
    early_stopping_patience: int = field(default=2, metadata={"help": "Validations without gain before the stop."})

    learning_rate: float = field(default=5e-6, metadata={"help": "Initial learning rate."})
    num_train_epochs: float = field(default=4.0, metadata={"help": "Passes over the examples."})
    max_length: int | None = field(default=512, metadata={"help": "Longest example in tokens."})
    per_device_eval_batch_size: int = field(default=256, metadata={"help": "Validation answers generated at once."})
    eval_strategy: str = field(default="epoch", metadata={"help": "When to validate: no, steps or epoch."})
    save_strategy: str = field(default="epoch", metadata={"help": "When to save a checkpoint."})
    save_total_limit: int | None = field(default=2, metadata={"help": "Checkpoints kept."})
    load_best_model_at_end: bool = field(default=True, metadata={"help": "Publish the best checkpoint."})
    metric_for_best_model: str | None = field(default="accuracy", metadata={"help": "Figure that chooses it."})
    greater_is_better: bool | None = field(default=True, metadata={"help": "Whether a larger figure is better."})
    ddp_find_unused_parameters: bool | None = field(default=False, metadata={"help": "All parameters are used."})
    gradient_checkpointing: bool | None = field(default=None, metadata={"help": "Save memory, compute more."})
    bf16: bool | None = field(default=None, metadata={"help": "bf16; where the GPU knows it, by default."})

    def __post_init__(self):
        if self.bf16 is None:
            self.bf16 = torch.cuda.is_available() and torch.cuda.is_bf16_supported() and not self.use_cpu
        super().__post_init__()
        load_whole()
        for name, known in (("data", DATA), ("validation_labels", VALIDATION_LABELS)):
            value = vars(self)[name]
            if value not in known:
                raise HFDistillError(f"warmup.{name} is {value!r}: it must be {' or '.join(map(repr, known))}")
