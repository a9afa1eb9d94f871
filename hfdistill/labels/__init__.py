"""Labels: which of a teacher's responses are right, by a vote or a judge, without gold answers (Section 3.1)."""

from .dataset import labelled_dataset
from .labeler import CORRECT, HIGH, INCORRECT, LOW, Candidate, Labeler, Verdict
from .vote import response_label


__all__ = [
    "CORRECT",
    "HIGH",
    "INCORRECT",
    "LOW",
    "Candidate",
    "Labeler",
    "Verdict",
    "labelled_dataset",
    "response_label",
]
