"""More imitation: the warm-up trained on, for as many tokens as refining it would have trained."""

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import mean
from typing import Any

from datasets import Dataset
from transformers import PreTrainedModel, Trainer

from ..encoding import Encoder
from ..errors import HFDistillError
from ..kinds import WARMUP
from ..rows import known_questions, scan_rows
from ..tasks.base import Task
from ..warmup.examples import encode_examples, select_responses
from ..warmup.validation import Validation
from .arguments import sft_arguments
from .config import BaselineConfig
from .trainers import ImitationBaseline


def imitation_examples(
    warmup: Mapping[str, Any], dataset: Path, labelled: Sequence[Mapping[str, Any]], task: Task, encoder: Encoder
) -> Dataset:
    """D_sft as the warm-up had it, by its manifest; the section's defaults where hfdistill did not make it.

    Args:
        warmup (`Mapping`): the warm-up's manifest.
        dataset (`Path`): files of the labels.
        labelled (`Sequence[Mapping]`): rows of their config `questions`.
        task ([`~hfdistill.tasks.base.Task`]), encoder ([`~hfdistill.encoding.Encoder`]): the run's.
    """
    made = warmup.get("config", {}) if warmup.get("kind") == WARMUP.name else {}
    settings = made.get("stage", {})
    training = [row for row in labelled if row["split"] == "train"]
    questions = known_questions(training, task)
    rows = select_responses(
        scan_rows(dataset, "responses", ["question_id", "response", "label", "finish_reason"]),
        questions,
        data=settings.get("data", "labelled"),
        deduplicate=settings.get("deduplicate", True),
        max_per_question=settings.get("max_per_question"),
        seed=made.get("seed", 0),
    )
    prompt_ids = {key: encoder.question_ids(task, question) for key, question in questions.items()}
    return encode_examples(rows, prompt_ids, encoder, settings.get("max_length", 512))[0]


def equal_steps(stage: BaselineConfig, student_responses: Iterable[Mapping[str, Any]], examples: Dataset) -> int:
    """Optimizer steps of imitation that train on as many tokens as the episodes would.

    An episode has a prompt and a response, and takes part `num_iterations` times. How long it would be is told by the
    warm-up's own responses in the triples: their mean of prompt and response tokens. An example has a prompt and a
    response, too, by the mean of all; an optimizer step takes `rollout_batch_size / num_mini_batches` of them.

    Args:
        stage ([`~hfdistill.baselines.config.BaselineConfig`]): says how many episodes, and how many examples a step.
        student_responses (`Iterable[Mapping]`): config `responses` of the triples.
        examples (`Dataset`): from [`~hfdistill.warmup.examples.encode_examples`].
    """
    lengths = [row["prompt_tokens"] + row["completion_tokens"] for row in student_responses]
    if not lengths or not len(examples):
        what = "the triples hold no response of the student's" if not lengths else "no example is left to imitate"
        raise HFDistillError(f"{what}: choose another baseline.method than sft_equal_compute")
    tokens = stage.total_episodes * stage.num_iterations * mean(lengths)
    a_step = stage.rollout_batch_size // stage.num_mini_batches * mean(map(len, examples["input_ids"]))
    return math.ceil(tokens / a_step)


def imitation_trainer(
    model: PreTrainedModel,
    stage: BaselineConfig,
    asked: dict[str, Any],
    steps: int,
    examples: Dataset,
    validation: Validation,
) -> Trainer:
    """The warm-up's trainer for so many steps more; arguments as for
    [`~hfdistill.baselines.groups.group_trainer`].
    """
    return ImitationBaseline(model, sft_arguments(stage, asked, steps), examples, validation)
