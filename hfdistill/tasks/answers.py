"""Final answers of responses: what a task needs from the readers."""

from .base import REASONS, Answer
from .letters import extract_letter
from .numbers import canonical_number, extract_number, same_number


__all__ = ["REASONS", "Answer", "canonical_number", "extract_letter", "extract_number", "same_number"]
