"""Final answers that are a phrase or a mathematical expression."""

import re
from collections.abc import Callable
from itertools import chain

from .base import EMPTY, NO_MARKER, NO_VALUE, SEVERAL, TOO_LONG, TRUNCATED, UNFINISHED, Answer
from .markers import CUT, NO_ABBREVIATION, WINDOW, announced, boxed, final_part, first_value, inside_braces
from .units import unit_of


SENTENCE_END = re.compile(NO_ABBREVIATION + r"[.!?](?=\s+[A-Z\"“(]|\s*$)|<[|/]")
MATH = re.compile(r"\\\(([\s\S]+?)\\\)|\\\[([\s\S]+?)\\\]|\$\$([\s\S]+?)\$\$|(?<!\\)\$((?:\\.|[^$\\])+)\$")
OPEN_MATH = re.compile(r"\\[(\[]|\$|\\(?:boxed|fbox)\{")
# Between two formulas: what makes a list of them, and what makes two quantities of them.
JOINT = re.compile(r"\s*(?:,\s*(?:and|or)\b|,|and\b|or\b)\s*(?=\\[(\[]|\$)")
QUANTITIES = re.compile(r"(?:\s+[a-zA-Z]+){1,3},?\s+(?:and|or)\s+(?=\\[(\[]|\$)")
# A unit or a word for a large number that stands behind a formula; "in" is a unit only at the end.
UNIT = re.compile(
    r"\s*((?:(?:square|sq|cubic)\.?\s)?([a-zA-Z]+)(?:/[a-zA-Z]+)?)(\^\{?[23]\}?)?(?![a-zA-Z])(?!\s*\\?\$)"
)
EXPLANATION = re.compile(r",?\s(?:because|since)\s")
EDGES = " \t\r\n:*_`\"'“”‘’"


def extract_phrase(response: str) -> Answer:
    """The phrase after the marker, to the end of its sentence, without quotes and emphasis."""
    return _extract(response, _read_phrase)


def same_phrase(a: str, b: str) -> bool:
    """Equality but for letter case and white space."""
    return a.casefold().split() == b.casefold().split()


def extract_expression(response: str) -> Answer:
    r"""The expression after the marker: what a `\boxed{}` or the first math delimiters hold, with those that `and`,
    `or` or a comma joins to them, or the phrase.
    """
    return _extract(response, _read_expression)


def gold_expression(text: str) -> str:
    r"""The expression of a gold answer: its last `\boxed{}`, what follows `####`, or all of it."""
    content = next(boxed(text), None)
    if content is None:
        content = text.rpartition("####")[2]
    return content.strip().strip("$").strip()


def _extract(response: str, read: Callable[[str], Answer]) -> Answer:
    text = final_part(response, CUT)
    if text is None:
        return UNFINISHED
    *lines, boxes = announced(text)
    # Given back in its braces, so that the reader sees that nothing else belongs to it.
    within = [TOO_LONG] if _last_box_is_cut(text) else (read(f"\\boxed{{{content}}}") for content in boxes)
    return first_value(chain(map(read, chain(*lines)), within)) or (NO_MARKER if text.strip() else EMPTY)


def _last_box_is_cut(text: str) -> bool:
    """Whether the last box goes on past what is read, so that no earlier one may stand in for it."""
    at = max(text.rfind("\\boxed{"), text.rfind("\\fbox{"))
    start = text.find("{", at)
    return 0 <= at <= start < len(text) - WINDOW and inside_braces(text[start : start + WINDOW]) is None


def _read_phrase(segment: str) -> Answer:
    line = segment.lstrip(EDGES).partition("\n")[0]
    content = next(boxed(line), None)
    if content is None:
        end = SENTENCE_END.search(line)
        if end is None and len(segment) >= WINDOW and segment.endswith(line):
            return TOO_LONG
        content = line[: end.start()] if end else line
    content = " ".join(content.strip(EDGES + ".").split())
    if not content:
        return NO_VALUE if line.strip() else TRUNCATED
    return Answer(content)


def _read_expression(segment: str) -> Answer:
    paragraph = segment.lstrip(EDGES).partition("\n\n")[0]
    if not paragraph:
        return TRUNCATED
    content = next(boxed(paragraph), None)
    if content is None:
        opening = OPEN_MATH.search(paragraph.partition("\n")[0])
        if opening is None:
            return _read_phrase(EXPLANATION.split(segment, maxsplit=1)[0])
        delimited = MATH.search(paragraph, opening.start())
        if delimited is None:
            return TOO_LONG if len(segment) >= WINDOW else _read_phrase(segment)
        parts = [delimited]
        while (joint := JOINT.match(paragraph, parts[-1].end())) and (following := MATH.match(paragraph, joint.end())):
            parts.append(following)
        if QUANTITIES.match(paragraph, parts[-1].end()):
            return SEVERAL
        content = ", ".join(_inside(part) for part in parts)
        unit = UNIT.match(paragraph, parts[-1].end())
        if unit and unit_of(unit[2]) and (unit[2] != "in" or not paragraph[unit.end() :].strip(" .")):
            content += rf" \text{{{unit[1]}}}{unit[3] or ''}"
    content = " ".join(content.split()).strip(" .")
    return Answer(content) if content else NO_VALUE


def _inside(delimited: re.Match) -> str:
    return next(group for group in delimited.groups() if group).strip(" .$")
