"""Final answers of responses: what a task needs from the readers."""

from hfdistill.tasks.base import REASONS, Answer
from hfdistill.tasks.letters import extract_letter
from hfdistill.tasks.numbers import canonical_number, extract_number, same_number


__all__ = ["REASONS", "Answer", "canonical_number", "extract_letter", "extract_number", "same_number"]
