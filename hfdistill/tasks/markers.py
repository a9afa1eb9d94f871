"""Where the final answer of a response stands: the cut before an invented next question, and the markers.

Everything here and in the readers (`numbers.py`, `letters.py`) is linear in the length of the text: markers are found
by plain searches or anchored patterns, at most `MOST_MARKERS` of them are looked at, and a reader sees `WINDOW`
characters after each.
"""

import re
from collections.abc import Iterable, Iterator
from itertools import chain

from .base import Answer
from .retractions import standing
from .set_apart import MOST_MARKERS, WINDOW, given, labelled, labelled_final
from .thoughts import spoken_parts


ANSWER_IS = re.compile(r"[aA]nswers?\s{1,4}(?:is|are)\b|ANSWER\s{1,4}IS\b")
ANSWER_COLON = re.compile(r"[aA]nswer\**\s?[:：]|ANSWER\**[:：]")
# The letter alone, as worked examples of many training sets open a response.
A_COLON = re.compile(r"^[ *_]{0,4}A[ *_]{0,4}[:：]", re.MULTILINE)

# Tags of HTML: those that end a line, and those that stress what they hold.
HTML = re.compile(
    r"<(?:(?P<line>br\s?/?|/(?:p|div|li))|/?(?:b|i|u|em|strong|mark|code|span|p|div|li|font|big|center)"
    r"(?:\s[a-z-]{1,20}=[^<>]{0,80})?)>"
)
MOST_TAGS = 1000

# A full stop behind one of these ends no sentence.
NO_ABBREVIATION = "".join(rf"(?<!\b{word})" for word in ("Mr", "Mrs", "Ms", "Dr", "St", "No", "vs", "approx"))

# An assistant's opening, after which it says the question again before it answers.
OPENING = re.compile(
    r"[\W_]*(?:(?:sure|certainly|of course|absolutely|great|okay|ok|here(?:['’]s| is| are)|below is|happy to|i['’]ll|"
    r"i will)\b(?=.{0,200}\b(?:solution|solve|answer|problem|question|work(?:ed|ing)?|steps?|explanation|help)\b)"
    r"[^\d]{0,250})?",
    re.IGNORECASE | re.DOTALL,
)
LONGEST_OPENING = 300
QUESTION_LINES = ("\nQuestion:", "\n Question:", "\n**Question:", "\n### Question:")
CUT = ("\nQ:", "\n Q:", "\n**Q:", "\n### Q:", *QUESTION_LINES)


def final_part(response: str, lines: tuple[str, ...]) -> str | None:
    """What a response says outside of its thoughts, as far as the next question, which one of the `lines` begins;
    `None` where it ends within a thought. Tags of HTML are left out, and so is what the text takes back in words.
    """
    parts, unfinished = spoken_parts(response)
    text = ""
    for part in parts:
        text = before_next_question(part, lines)
        if len(text) < len(part):
            unfinished = False
            break
    if unfinished:
        return None
    if ">" in text and ("</" in text or "<br" in text):
        text = HTML.sub(lambda tag: "\n" if tag["line"] else "", text, count=MOST_TAGS)
    return standing(text)


def before_next_question(text: str, lines: tuple[str, ...]) -> str:
    """What stands before the first of the `lines` (each begins with a newline). Base models run on into an invented
    next question. A line that only blanks or an assistant's opening stand before does not cut: the response would be
    gone.
    """
    if "Q:" not in text and "Question:" not in text:
        return text
    end = len(text)
    for line in lines:
        at = text.find(line, 0, end + len(line))
        while 0 <= at < end:
            if text[:at].strip() and not (at < LONGEST_OPENING and OPENING.fullmatch(text, 0, at)):
                end = at
                break
            at = text.find(line, at + 1, end + len(line))
    return text[:end]


def announced(text: str) -> tuple[Iterator[str], Iterator[str], Iterator[str], Iterator[str]]:
    """What is given as the answer, or stands after "The answer is" or at a label "Final answer"; after `####`; after
    `Answer:` or `A:` on the last line; and within `\\boxed{}` or `\\fbox{}`.
    """
    return (
        chain(given(text), after(ANSWER_IS, text), labelled_final(text)),
        after_last("####", text),
        chain(last_line_after(ANSWER_COLON, text), last_line_after(A_COLON, text), labelled(text)),
        boxed(text),
    )


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
    end = len(text.rstrip())
    ends = [match.end() for match in pattern.finditer(text, max(0, end - WINDOW), end)]
    if ends and "\n" not in text[ends[-1] : end].strip():
        yield text[ends[-1] : end].strip()


def boxed(text: str) -> Iterator[str]:
    r"""The content of each `\boxed{…}` or `\fbox{…}`, from the last one back; one that is never closed is passed
    over.
    """
    end = len(text)
    for _ in range(MOST_MARKERS):
        at = max(text.rfind("\\boxed{", 0, end), text.rfind("\\fbox{", 0, end))
        if at < 0:
            return
        brace = text.index("{", at)
        content = inside_braces(text[brace : brace + WINDOW])
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
