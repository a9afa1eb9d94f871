"""Test-time reinforcement learning: the test questions themselves, rewarded by the student's own vote."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from ..encoding import Encoder
from ..errors import HFDistillError
from ..labels.plurality import plurality
from ..reward.rewards import Reward
from ..tasks.base import Task


def questions_to_learn_on(task: Task, encoder: Encoder) -> list[dict[str, Any]]:
    """Prompts of the test questions, without a label of any kind."""
    rows = [
        {
            "prompt": encoder.prompt(task, question),
            "prompt_ids": encoder.question_ids(task, question),
            "question_id": question.question_id,
        }
        for question in task.questions()
        if question.split == "test"
    ]
    if not rows:
        raise HFDistillError(f"task {task.name!r} has no test questions, which test-time training learns on")
    return rows


@dataclass
class SelfAgreement(Reward):
    """1 for a response whose answer is the majority's among the responses to its question, and 0 for another
    (https://arxiv.org/abs/2504.16084). Of answers given equally often the one that was sampled first is the
    majority's; where no response has an answer, all get 0.
    """

    name: ClassVar[str] = "self_agreement"

    def __call__(
        self,
        prompts: Sequence[Any],
        completions: Sequence[Any],
        completion_ids: Sequence[list[int]],
        question_id: Sequence[str],
        **columns: Any,
    ) -> list[float]:
        """See [`~hfdistill.reward.rewards.Reward`]; the responses to a question must be in one call."""
        answers = self.answers(completions, question_id)
        groups: dict[str, list[str | None]] = {}
        for key, answer in zip(question_id, answers, strict=True):
            groups.setdefault(key, []).append(answer)
        chosen = {key: plurality(group, self.task.same) for key, group in groups.items()}
        return [
            float(answer is not None and self.task.same(answer, chosen[key]))
            for key, answer in zip(question_id, answers, strict=True)
        ]
