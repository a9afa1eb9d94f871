"""From responses to labels: the labelled dataset, pseudo-labels and D_fail (Sec. 3.1), and the way there."""

from .dataset import labelled_dataset, write_dataset
from .labeler import CORRECT, HIGH, INCORRECT, LOW
from .vote import Vote, response_label, vote


__all__ = [
    "CORRECT",
    "HIGH",
    "INCORRECT",
    "LOW",
    "Vote",
    "labelled_dataset",
    "response_label",
    "vote",
    "write_dataset",
]
