"""Where the final answer of a response stands: the cut before an invented next question, and the markers.

Everything here and in the readers (`numbers.py`, `letters.py`) is linear in the length of the text: markers are found
by plain searches or anchored patterns, at most `MOST_MARKERS` of them are looked at, and a reader sees `WINDOW`
characters after each.
"""

import re
from collections.abc import Iterable, Iterator

from .base import Answer
from .thoughts import spoken_parts


WINDOW = 400
MOST_MARKERS = 64

ANSWER_IS = re.compile(r"[aA]nswers?\s{1,4}(?:is|are)\b|ANSWER\s{1,4}IS\b")
ANSWER_COLON = re.compile(r"[aA]nswer\**\s?:|ANSWER\**:")

# A full stop behind one of these ends no sentence.
NO_ABBREVIATION = "".join(rf"(?<!\b{word})" for word in ("Mr", "Mrs", "Ms", "Dr", "St", "No", "vs", "approx"))

QUESTION_LINES = ("\nQuestion:", "\n Question:", "\n**Question:", "\n### Question:")
CUT = ("\nQ:", "\n Q:", "\n**Q:", "\n### Q:", *QUESTION_LINES)


def final_part(response: str, lines: tuple[str, ...]) -> str | None:
    """What a response says outside of its thoughts, as far as the next question, which one of the `lines` begins;
    `None` where it ends within a thought.
    """
    parts, unfinished = spoken_parts(response)
    text = ""
    for part in parts:
        text = before_next_question(part, lines)
        if len(text) < len(part):
            return text
    return None if unfinished else text


def before_next_question(text: str, lines: tuple[str, ...]) -> str:
    """What stands before the first of the `lines` (each begins with a newline). Base models run on into an invented
    next question. A line that only blanks stand before does not cut: the response would be gone.
    """
    end = len(text)
    for line in lines:
        at = text.find(line, 0, end + len(line))
        while 0 <= at < end:
            if text[:at].strip():
                end = at
                break
            at = text.find(line, at + 1, end + len(line))
    return text[:end]


def announced(text: str) -> tuple[Iterator[str], Iterator[str], Iterator[str], Iterator[str]]:
    """What stands after "The answer is", after `####`, after `Answer:` on the last line, and within `\\boxed{}`."""
    return after(ANSWER_IS, text), after_last("####", text), last_line_after(ANSWER_COLON, text), boxed(text)


def after(pattern: re.Pattern, text: str) -> Iterator[str]:
    """The `WINDOW` characters after each match, from the first on."""
    for number, match in enumerate(pattern.finditer(text)):
        if number == MOST_MARKERS:
            return
        yield text[match.end() : match.end() + WINDOW]


def after_last(marker: str, text: str) -> Iterator[str]:
    """The rest of the line after each occurrence of `marker`, from the last one back; blank rests are passed over."""
    end = len(text)
    for _ in range(MOST_MARKERS):
        at = text.rfind(marker, 0, end)
        if at < 0:
            return
        rest = text[at + len(marker) : min(end, at + len(marker) + WINDOW)].partition("\n")[0]
        if rest.strip():
            yield rest
        end = at


def last_line_after(pattern: re.Pattern, text: str) -> Iterator[str]:
    """What follows the last match of `pattern`, where that is the last line of the text."""
    tail = text.rstrip()[-WINDOW:]
    ends = [match.end() for match in pattern.finditer(tail)]
    if ends and "\n" not in tail[ends[-1] :].strip():
        yield tail[ends[-1] :].strip()


def boxed(text: str) -> Iterator[str]:
    r"""The content of each `\boxed{…}`, from the last one back; one that is never closed is passed over."""
    end = len(text)
    for _ in range(MOST_MARKERS):
        at = text.rfind("\\boxed{", 0, end)
        if at < 0:
            return
        content = inside_braces(text[at + 6 : at + 6 + WINDOW])
        if content is not None:
            yield content
        end = at


def inside_braces(text: str) -> str | None:
    """What the brace that opens `text` encloses, or `None` where it is never closed."""
    depth = 0
    for position, character in enumerate(text):
        if character == "{":
            depth += 1
        elif character == "}":
            depth -= 1
            if depth == 0:
                return text[1:position]
    return None


def first_value(answers: Iterable[Answer]) -> Answer | None:
    """The first answer that holds a value; if none does, the first one with its reason. `None` of nothing."""
    first = None
    for answer in answers:
        if answer.value is not None:
            return answer
        first = first or answer
    return first
