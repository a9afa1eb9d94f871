"""What the paper's PPO trains on, questions of D_S and D_fail, and what it is validated on."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import islice
from typing import Any

from transformers.utils import logging

from ..encoding import Encoder
from ..errors import HFDistillError
from ..labels.references import validation_references
from ..reward.rewards import text_of
from ..reward.triples import student_failures
from ..rows import has_label, known_questions
from ..tasks.base import Question, Task


logger = logging.get_logger(__name__)
# Of the validation questions; with more of them unlabelled, those that have a label may tell little of the rest.
UNLABELLED = 1 / 3


def training_rows(
    task: Task,
    encoder: Encoder,
    labelled: Iterable[Mapping[str, Any]],
    student_responses: Iterable[Mapping[str, Any]],
    few_shot: bool = False,
) -> list[dict[str, Any]]:
    """Prompts of D_S and D_fail with their pseudo-labels, `None` in D_fail, and of an open-ended task always.

    Made of the config `questions` of the labels and the config `responses` of the triples; with `few_shot` the task's
    worked examples stand in the prompts.
    """
    failures = set(student_failures(student_responses))
    trained = [
        row
        for row in labelled
        if row["split"] == "train" and (not has_label(row, task) or row["question_id"] in failures)
    ]
    questions = known_questions(trained, task)
    rows = [_row(task, encoder, questions[row["question_id"]], row["pseudo_label"], few_shot) for row in trained]
    if not rows:
        raise HFDistillError(
            "nothing to train on: the student answered every labelled question right, and the teacher failed on none"
        )
    return rows


def validation_rows(
    task: Task,
    encoder: Encoder,
    labelled: Sequence[Mapping[str, Any]],
    golds: Iterable[Mapping[str, Any]] | None = None,
    limit: int | None = None,
    few_shot: bool = False,
    unlabelled: bool = False,
) -> list[dict[str, Any]]:
    """Prompts of the validation questions with the answers that they are validated against, see
    [`~hfdistill.labels.references.validation_references`]; with `unlabelled` those without such an answer, too.
    """
    known = validation_references(labelled, golds)
    asked = [row["question_id"] for row in labelled if row["split"] == "validation"]
    references: dict[str, str | None]
    if unlabelled:
        references = {key: known.get(key) for key in asked[:limit]}
        if not references:
            raise HFDistillError(
                "there is no validation question by which to choose the best checkpoint: label some, or train "
                "without validation (--eval_strategy no)"
            )
    else:
        missing = len(asked) - len(known)
        if known and missing > UNLABELLED * len(asked):
            logger.warning(
                f"{missing} of {len(asked)} validation questions have no label, and have no say in which checkpoint "
                "is the best: with ppo.yardstick: agreement (or reward) all have one"
            )
        references = dict(islice(known.items(), limit))
    if not references:
        labels = "pseudo" if golds is None else "gold"
        raise HFDistillError(
            f"no validation question has a {labels} label: let ppo.yardstick, reward or agreement, choose the best "
            "checkpoint"
        )
    questions = known_questions((row for row in labelled if row["question_id"] in references), task)
    return [_row(task, encoder, questions[key], answer, few_shot) for key, answer in references.items()]


def answers_match(task: Task) -> Callable[..., list[bool | None]]:
    """An `eval_func`: whether each completion's answer is the row's `pseudo_label`, `None` where it has none."""
    questions = {question.question_id: question for question in task.questions()}

    def match(
        completions: Sequence[Any], question_id: Sequence[str], pseudo_label: Sequence[str | None], **columns: Any
    ) -> list[bool | None]:
        return [
            None if label is None else task.correct(task.extract(text_of(completion), questions[key]).value, label)
            for completion, key, label in zip(completions, question_id, pseudo_label, strict=True)
        ]

    return match


def _row(task: Task, encoder: Encoder, question: Question, label: str | None, few_shot: bool) -> dict[str, Any]:
    shots = task.shots if few_shot else 0
    return {
        "prompt": encoder.prompt(task, question, shots),
        "prompt_ids": encoder.question_ids(task, question, shots),
        "question_id": question.question_id,
        "pseudo_label": label,
    }
