"""From responses to labels: the labelled dataset, pseudo-labels and D_fail (Sec. 3.1), and the way there."""

from hfdistill.labelers.base import CORRECT, HIGH, INCORRECT, LOW
from hfdistill.labelers.vote import Vote, response_label, vote

from .dataset import RESPONSE_COLUMNS, labelled_dataset, schema, write_dataset, write_rows


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
