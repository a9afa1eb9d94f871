"""On-policy distillation: the student's own responses, and the probabilities that the teacher's weights give them."""

from pathlib import Path
from typing import Any

from datasets import Dataset
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase, Trainer

from ..encoding import Encoder
from ..errors import HFDistillError
from ..warmup.validation import Validation
from .arguments import trl_arguments
from .config import BaselineConfig
from .trainers import DistillationBaseline


def load_teacher(folder: str | Path, name: str, encoder: Encoder, **how: Any) -> PreTrainedModel:
    """The teacher's weights, where they know the student's tokens.

    Args:
        folder (`str` or `Path`): of the teacher.
        name (`str`): as the configuration has it, for errors.
        encoder ([`~hfdistill.encoding.Encoder`]): the student's.
        how: arguments of `from_pretrained`.

    Raises:
        [`~hfdistill.errors.HFDistillError`]: if its vocabulary is another one.
    """
    check_same_vocabulary(AutoTokenizer.from_pretrained(folder), encoder.tokenizer, name)
    return AutoModelForCausalLM.from_pretrained(folder, **how).eval()


def check_same_vocabulary(teacher: PreTrainedTokenizerBase, student: PreTrainedTokenizerBase, name: str) -> None:
    """Refuse a teacher whose probabilities are about other tokens than the student's."""
    theirs, ours = teacher.get_vocab(), student.get_vocab()
    if theirs != ours:
        other = len(set(theirs.items()) ^ set(ours.items()))
        raise HFDistillError(
            f"teacher.model {name!r} and the student have different vocabularies ({len(theirs)} and {len(ours)} "
            f"tokens, {other} of them not in both), and distillation compares their probabilities token by token: "
            "choose a teacher of the student's family, or another baseline.method"
        )


def distillation_trainer(
    model: PreTrainedModel,
    teacher: PreTrainedModel,
    stage: BaselineConfig,
    asked: dict[str, Any],
    prompts: Dataset,
    validation: Validation,
    encoder: Encoder,
) -> Trainer:
    """TRL's trainer of on-policy distillation; arguments as for [`~hfdistill.baselines.groups.group_trainer`]."""
    if model.config.get_text_config().vocab_size != teacher.config.get_text_config().vocab_size:
        raise HFDistillError(
            f"the teacher's head has {teacher.config.get_text_config().vocab_size} rows and the student's "
            f"{model.config.get_text_config().vocab_size}: TRL's distillation needs as many; choose another teacher, "
            "or another baseline.method"
        )
    template = {"chat_template_kwargs": dict(encoder.chat.template_kwargs)} if encoder.chat else {}
    return DistillationBaseline(
        model,
        teacher,
        args=trl_arguments(stage, asked, **template),
        train_dataset=prompts,
        eval_dataset=prompts,  # validation asks its own questions
        processing_class=encoder.tokenizer,
        validation=validation,
        early_stopping_patience=stage.early_stopping_patience,
    )
