"""From responses to labels: the labelled dataset, pseudo-labels and D_fail (Sec. 3.1), and the way there."""

from .dataset import RESPONSE_COLUMNS, labelled_dataset, schema, write_dataset, write_rows
from .labeler import CORRECT, HIGH, INCORRECT, LOW
from .vote import Vote, response_label, vote


__all__ = [
    "CORRECT",
    "HIGH",
    "INCORRECT",
    "LOW",
    "RESPONSE_COLUMNS",
    "Vote",
    "labelled_dataset",
    "response_label",
    "schema",
    "vote",
    "write_dataset",
    "write_rows",
]
