"""What a visitor reads of an error: a plain sentence. The owner's log has the rest, without addresses and secrets."""

import logging
import math
import re
from typing import Any

from ..errors import HFDistillError


logger = logging.getLogger(__name__)

NO_TEACHER = "The teacher cannot be asked now. The students answer without it."

TOKEN = re.compile(r"\b(hf_|sk-)[\w-]{6,}|(?<=Bearer )\S+")
ADDRESS = re.compile(r"\b[a-z][a-z0-9+.-]*://[^\s'\"<>)]+")
FOLDER = re.compile(r"(?<![\w.])(?:/|[A-Za-z]:\\)(?:[^\s'\":/\\]+[/\\])+")
BODY = re.compile(r"(answered \d{3}):.*", re.DOTALL)


class ForVisitors(HFDistillError):
    """A sentence that was written for whoever opens the page: it names nothing of the inside."""


def number(given: Any, name: str, least: float, most: float) -> float:
    """A number that a visitor gave, moved to where it may be.

    Raises:
        [`ForVisitors`]: if it is none.
    """
    try:
        value = float(given)
    except (TypeError, ValueError):
        value = math.nan
    if math.isnan(value):
        raise ForVisitors(f"{name} must be a number.")
    return min(max(value, least), most)


def told(error: HFDistillError, otherwise: str) -> str:
    """The sentence for the page: the error's own where it was written for visitors, else `otherwise`; then the log
    says what happened.
    """
    if isinstance(error, ForVisitors):
        return str(error)
    log(otherwise, error)
    return otherwise


def log(words: str, error: Exception) -> None:
    """Write for the owner what stands behind the words that a visitor reads."""
    cause = error.__cause__ or error
    logger.warning("%s %s: %s", words, type(cause).__name__, redacted(str(error)))


def redacted(text: str) -> str:
    """A message without tokens, addresses, folders and what a server wrote."""
    text = BODY.sub(r"\1", text)
    for pattern, shown in ((TOKEN, "<token>"), (ADDRESS, "<address>"), (FOLDER, "…/")):
        text = pattern.sub(shown, text)
    return text
