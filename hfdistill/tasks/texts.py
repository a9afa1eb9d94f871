"""Final answers that are a phrase or a mathematical expression."""

import re
from collections.abc import Callable
from functools import lru_cache
from itertools import chain

from .base import EMPTY, NO_MARKER, NO_VALUE, TRUNCATED, UNFINISHED, Answer
from .markers import CUT, NO_ABBREVIATION, announced, boxed, final_part, first_value


SENTENCE_END = re.compile(NO_ABBREVIATION + r"[.!?](?=\s+[A-Z\"“(]|\s*$)|<[|/]")
MATH = re.compile(r"\\\((.+?)\\\)|\\\[(.+?)\\\]|\$\$(.+?)\$\$|\$([^$]+)\$")
EDGES = " \t\r\n:*_`\"'“”‘’"

# Symbolic comparison of these can take any time: powers of powers, long exponents, factorials.
UNBOUNDED = re.compile(r"\^\s*\{?[^{}]{0,40}\^|\^\s*\{?\s*\d{4}|\d\s*!|\d{60}")


def extract_phrase(response: str) -> Answer:
    """The phrase after the marker, to the end of its sentence, without quotes and emphasis."""
    return _extract(response, _read_phrase)


def same_phrase(a: str, b: str) -> bool:
    """Equality but for letter case and white space."""
    return a.casefold().split() == b.casefold().split()


def extract_expression(response: str) -> Answer:
    r"""The expression after the marker: what a `\boxed{}` or the first math delimiters hold, or the phrase."""
    return _extract(response, _read_expression)


def gold_expression(text: str) -> str:
    r"""The expression of a gold answer: its last `\boxed{}`, what follows `####`, or all of it."""
    content = next(boxed(text), None)
    if content is None:
        content = text.rpartition("####")[2]
    return content.strip().strip("$").strip()


@lru_cache(maxsize=65_536)
def same_expression(a: str, b: str) -> bool:
    """Whether two expressions are one by math-verify, asked both ways; what it cannot bound is compared as text."""
    if a == b:
        return True
    if UNBOUNDED.search(a) or UNBOUNDED.search(b):
        return "".join(a.split()) == "".join(b.split())
    from math_verify import parse, verify

    # math-verify's own time limits are signals, which only work in the main thread; `UNBOUNDED` stands in for them.
    first, second = (parse(f"${text}$", parsing_timeout=None) for text in (a, b))
    return any(verify(*pair, timeout_seconds=None) for pair in ((first, second), (second, first)))


def _extract(response: str, read: Callable[[str], Answer]) -> Answer:
    text = final_part(response, CUT)
    if text is None:
        return UNFINISHED
    *lines, boxes = announced(text)
    # Given back in its braces, so that the reader sees that nothing else belongs to it.
    segments = chain(*lines, (f"\\boxed{{{content}}}" for content in boxes))
    return first_value(map(read, segments)) or (NO_MARKER if text.strip() else EMPTY)


def _read_phrase(segment: str) -> Answer:
    line = segment.lstrip(EDGES).partition("\n")[0]
    content = next(boxed(line), None)
    if content is None:
        end = SENTENCE_END.search(line)
        content = line[: end.start()] if end else line
    content = " ".join(content.strip(EDGES + ".").split())
    if not content:
        return NO_VALUE if line.strip() else TRUNCATED
    return Answer(content)


def _read_expression(segment: str) -> Answer:
    line = segment.lstrip(EDGES)
    if not line:
        return TRUNCATED
    content = next(boxed(line[: line.find("\n\n")] if "\n\n" in line else line), None)
    if content is None:
        delimited = MATH.search(line.partition("\n")[0])
        content = next((group for group in delimited.groups() if group), None) if delimited else None
    if content is None:
        return _read_phrase(segment)
    content = " ".join(content.split()).strip(" .$")
    return Answer(content) if content else NO_VALUE
