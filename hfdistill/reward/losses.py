"""The reward model's objective, Eq. 4 to 6, as functions of scores."""

import torch
import torch.nn.functional as F


def classification_loss(scores: torch.Tensor, correct: torch.Tensor) -> torch.Tensor:
    """Binary cross-entropy of score against correctness (Eq. 4): it makes zero the border between right and wrong.

    Args:
        scores (`torch.Tensor`): scores of any shape.
        correct (`torch.Tensor`): of the same shape, 1 where the answer equals the pseudo-label, else 0.

    Returns:
        `torch.Tensor`: mean over the responses, a scalar in nats.
    """
    return F.binary_cross_entropy_with_logits(scores, correct.to(scores.dtype))


def preference_loss(
    student_positive: torch.Tensor, student_negative: torch.Tensor, teacher_positive: torch.Tensor
) -> torch.Tensor:
    """Bradley-Terry loss of teacher above student, and of right above wrong (Eq. 5).

    Args:
        student_positive (`torch.Tensor`): scores of right student responses, `(triples,)`.
        student_negative (`torch.Tensor`): scores of wrong student responses, `(triples,)`.
        teacher_positive (`torch.Tensor`): scores of right teacher responses, `(triples,)`.

    Returns:
        `torch.Tensor`: sum of the two means over the triples, a scalar in nats.
    """
    teacher_over_student = -F.logsigmoid(teacher_positive - student_positive).mean()
    right_over_wrong = -F.logsigmoid(student_positive - student_negative).mean()
    return teacher_over_student + right_over_wrong


def reward_loss(scores: torch.Tensor, classification_weight: float) -> torch.Tensor:
    """L = L_pref + lambda * L_cls (Eq. 6).

    Args:
        scores (`torch.Tensor`): `(triples, 3)`, a triple's right student, wrong student and right teacher response.
        classification_weight (`float`): the lambda of Eq. 6.

    Returns:
        `torch.Tensor`: a scalar in nats.
    """
    student_positive, student_negative, teacher_positive = scores.unbind(-1)
    correct = torch.tensor([1.0, 0.0, 1.0], device=scores.device).expand_as(scores)
    return preference_loss(student_positive, student_negative, teacher_positive) + (
        classification_weight * classification_loss(scores, correct)
    )
