"""What the paper's PPO trains on and for: questions of D_S and D_fail, and Eq. 7 as a reward function."""

import importlib
import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from ..errors import HFDistillError
from ..reward.distilled import distilled_reward
from ..reward.model import RewardScorer
from ..reward.triples import student_failures
from ..tasks.base import Question, Task


def training_rows(
    task: Task,
    labelled: Iterable[Mapping[str, Any]],
    student_responses: Iterable[Mapping[str, Any]],
    few_shot: bool = False,
) -> list[dict[str, Any]]:
    """Prompts of D_S and D_fail with their pseudo-labels, `None` in D_fail.

    Args:
        task ([`~hfdistill.tasks.base.Task`]): renders the prompts.
        labelled (`Iterable[Mapping]`): config `questions` of the labels.
        student_responses (`Iterable[Mapping]`): config `responses` of the triples.
        few_shot (`bool`, *optional*, defaults to `False`): with the task's worked examples in the prompts.
    """
    failures = set(student_failures(student_responses))
    questions = {question.question_id: question for question in task.questions()}
    rows = []
    for row in labelled:
        key = row["question_id"]
        if row["split"] == "train" and (row["pseudo_label"] is None or key in failures):
            rows.append(_row(task, _known(questions, key), row["pseudo_label"], few_shot))
    if not rows:
        raise HFDistillError(
            "nothing to train on: the student answered every labelled question right, and the teacher failed on none"
        )
    return rows


def validation_rows(
    task: Task, labelled: Iterable[Mapping[str, Any]], labels: str, limit: int | None, few_shot: bool = False
) -> list[dict[str, Any]]:
    """Prompts of the validation questions with the answers that they are validated against.

    Args:
        task ([`~hfdistill.tasks.base.Task`]): renders the prompts.
        labelled (`Iterable[Mapping]`): config `questions` of the labels.
        labels (`str`): `"pseudo"`, or `"gold"` for the task's own answers.
        limit (`int`, *optional*): only the first so many.
        few_shot (`bool`, *optional*, defaults to `False`): as in [`training_rows`].
    """
    questions = [question for question in task.questions() if question.split == "validation"]
    if labels == "gold":
        references = task.golds()
    else:
        references = {row["question_id"]: row["pseudo_label"] for row in labelled}
    rows = [
        _row(task, question, references[question.question_id], few_shot)
        for question in questions
        if references.get(question.question_id) is not None
    ]
    if not rows:
        raise HFDistillError(f"no validation question has a {labels} label: the best checkpoint cannot be chosen")
    return rows[:limit]


class DistilledReward:
    """Eq. 7 as a reward function of [`~hfdistill.ppo.PPOTrainer`].

    Responses without an extractable answer get their reward without asking the reward model.

    Args:
        task ([`~hfdistill.tasks.base.Task`]): reads answers.
        scorer ([`~hfdistill.reward.model.RewardScorer`]): the reward model.
        variant (`str`, *optional*, defaults to `"min"`): of Eq. 7.
        function (`str`, *optional*): `"module:function"` in place of Eq. 7.
        few_shot (`bool`, *optional*, defaults to `False`): whether prompts hold worked examples. The reward model was
            trained without, on responses that end by themselves, and reads them so.
    """

    def __init__(
        self,
        task: Task,
        scorer: RewardScorer,
        variant: str = "min",
        function: str | None = None,
        few_shot: bool = False,
    ):
        self.task = task
        self.scorer = scorer
        self.few_shot = few_shot
        self.questions = {question.question_id: question for question in task.questions()}
        self.function = distilled_reward if function is None else load_function(function)
        # A function of the user's own need not care when two answers are equal, nor for variants of Eq. 7.
        accepted = inspect.signature(self.function).parameters
        options = {"same": task.same, "variant": variant}
        self.options = {name: value for name, value in options.items() if name in accepted}

    def __call__(
        self,
        prompt_ids: Sequence[list[int]],
        completions: Sequence[str],
        completion_ids: Sequence[list[int]],
        finished: Sequence[bool],
        question_id: Sequence[str],
        pseudo_label: Sequence[str | None],
        log_metric: Callable[[str, float], None],
        **columns: Any,
    ) -> list[float]:
        """Rewards of the completions; logs the share without an answer and the share that agrees with y*."""
        questions = [self.questions[key] for key in question_id]
        answers = [
            self.task.extract(text, question).value for text, question in zip(completions, questions, strict=True)
        ]
        asked = [index for index, answer in enumerate(answers) if answer is not None]
        if self.few_shot:
            bare = [self.task.prompt(questions[index], shots=0) for index in asked]
            values = self.scorer(bare, [completions[i] for i in asked], [finished[i] for i in asked])
        else:
            values = self.scorer.score_ids([prompt_ids[index] + completion_ids[index] for index in asked]).tolist()
        scores: dict[int, float] = dict(zip(asked, values, strict=True))
        log_metric("objective/no_answer_rate", 1 - len(asked) / len(answers))
        labelled = [
            answer is not None and self.task.same(answer, label)
            for answer, label in zip(answers, pseudo_label, strict=True)
            if label is not None
        ]
        if labelled:
            log_metric("objective/pseudo_label_rate", sum(labelled) / len(labelled))
        return [
            self.function(question.question, text, answer, label, scores.get(index), **self.options)
            for index, (question, text, answer, label) in enumerate(
                zip(questions, completions, answers, pseudo_label, strict=True)
            )
        ]


def load_function(path: str) -> Callable[..., float]:
    """The function that `"module:function"` names."""
    module, _, name = path.partition(":")
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise HFDistillError(f"reward_function {path!r} cannot be loaded: {error}") from error


def answers_match(task: Task) -> Callable[..., list[bool]]:
    """An `eval_func`: whether each completion's answer is the row's `pseudo_label`."""
    questions = {question.question_id: question for question in task.questions()}

    def match(completions: Sequence[str], question_id: Sequence[str], pseudo_label: Sequence[str], **columns: Any):
        return [
            task.correct(task.extract(text, questions[key]).value, label)
            for text, key, label in zip(completions, question_id, pseudo_label, strict=True)
        ]

    return match


def _row(task: Task, question: Question, label: str | None, few_shot: bool) -> dict[str, Any]:
    return {
        "prompt": task.prompt(question, shots=None if few_shot else 0),
        "question_id": question.question_id,
        "pseudo_label": label,
    }


def _known(questions: Mapping[str, Question], key: str) -> Question:
    if key not in questions:
        raise HFDistillError(
            f"question {key!r} of the labels is not in the task: the task's options or its data have changed "
            "since it was labelled; label it again, or give the task the options of then"
        )
    return questions[key]
