"""The reward model's objective, Eq. 4 to 6, as functions of scores.

Scores are `(triples, 4)`: a triple's right student, wrong student, right teacher and wrong teacher response, as in
[`~hfdistill.rows.ROLES`]. `present`, of the same shape, is 1 where a role has a response, and 0 where it is empty, as
the last is in the paper's triples.
"""

import torch
import torch.nn.functional as F

from ..rows import CORRECT


def term_counts(present: torch.Tensor) -> torch.Tensor:
    """How many comparisons and responses the means of Eq. 4 and 5 are over, `(3,)`: teacher against student, right
    against wrong, responses.

    A batch spread over micro-batches or processes is normalised by the sum of their counts, so that neither changes
    the update.
    """
    right, wrong, taught, _ = present.unbind(-1)
    return torch.stack([(taught * right).sum(), (right * wrong).sum(), present.sum()])


def classification_loss(
    scores: torch.Tensor, present: torch.Tensor, count: torch.Tensor | None = None
) -> torch.Tensor:
    """Binary cross-entropy of score against correctness (Eq. 4): it makes zero the border between right and wrong.

    Args:
        scores (`torch.Tensor`), present (`torch.Tensor`): `(triples, 4)`.
        count (`torch.Tensor`, *optional*): number of responses of the whole batch; those present here by default.

    Returns:
        `torch.Tensor`: mean over the responses, a scalar in nats.
    """
    correct = torch.tensor(CORRECT, device=scores.device, dtype=scores.dtype).expand_as(scores)
    losses = F.binary_cross_entropy_with_logits(scores, correct, reduction="none")
    return (losses * present).sum() / _at_least_one(present.sum() if count is None else count)


def every_token_loss(
    scores: torch.Tensor, correct: torch.Tensor, shares: torch.Tensor, count: torch.Tensor
) -> torch.Tensor:
    """Binary cross-entropy of the score at every token of a response against the response's correctness: Eq. 4 at all
    positions instead of the last, as the token-level verifier of https://arxiv.org/abs/2110.14168 has it.

    Args:
        scores (`torch.Tensor`), correct (`torch.Tensor`): `(rows, tokens)`, the latter 1 in right responses.
        shares (`torch.Tensor`): one over the length of the token's response, 0 for what does not count.
        count (`torch.Tensor`): number of responses of the whole batch.

    Returns:
        `torch.Tensor`: mean over the responses of the mean over their tokens, a scalar in nats.
    """
    losses = F.binary_cross_entropy_with_logits(scores, correct, reduction="none")
    return (losses * shares).sum() / _at_least_one(count)


def preference_loss(scores: torch.Tensor, present: torch.Tensor, counts: torch.Tensor | None = None) -> torch.Tensor:
    """Bradley-Terry loss of the teacher's right answer above the student's, and of right above wrong (Eq. 5).

    Args:
        scores (`torch.Tensor`), present (`torch.Tensor`): `(triples, 4)`.
        counts (`torch.Tensor`, *optional*): `(2,)` or longer, the comparisons of the whole batch, see [`term_counts`].

    Returns:
        `torch.Tensor`: sum of two means over the triples, a scalar in nats.
    """
    counts = term_counts(present) if counts is None else counts
    right, wrong, taught, _ = scores.unbind(-1)
    has_right, has_wrong, has_taught, _ = present.unbind(-1)
    teacher_over_student = -F.logsigmoid(taught - right) * has_taught * has_right
    right_over_wrong = -F.logsigmoid(right - wrong) * has_right * has_wrong
    return teacher_over_student.sum() / _at_least_one(counts[0]) + right_over_wrong.sum() / _at_least_one(counts[1])


def reward_loss(
    scores: torch.Tensor, present: torch.Tensor, classification_weight: float, counts: torch.Tensor | None = None
) -> torch.Tensor:
    """L = L_pref + lambda * L_cls (Eq. 6).

    Args:
        scores (`torch.Tensor`), present (`torch.Tensor`): `(triples, 4)`.
        classification_weight (`float`): the lambda of Eq. 6.
        counts (`torch.Tensor`, *optional*): `(3,)`, see [`term_counts`]; those of these triples by default.

    Returns:
        `torch.Tensor`: a scalar in nats.
    """
    counts = term_counts(present) if counts is None else counts
    preference = preference_loss(scores, present, counts)
    return preference + classification_weight * classification_loss(scores, present, counts[2])


def _at_least_one(count: torch.Tensor) -> torch.Tensor:
    # A term without any response is zero, not 0 / 0.
    return count.clamp(min=1)
