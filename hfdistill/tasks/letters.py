"""Letters in final answers to multiple-choice questions: `(B)`, `B.`, `**B. text**`, `\\boxed{B}`, `Answer: B`.

A letter counts only where it stands apart from any word and belongs to one of the options. "(I don't know)", "(II)",
"January" and "A triangle" are no letters.
"""

import re
from itertools import chain

from .base import EMPTY, NO_MARKER, NO_VALUE, OUT_OF_RANGE, SEVERAL, TRUNCATED, UNFINISHED, Answer
from .markers import A_COLON, QUESTION_LINES, after, boxed, final_part, first_value, last_line_after
from .set_apart import given, labelled, labelled_final


MARKER = re.compile(r"[aA]nswers?(?:\s{1,4}(?:is|are)\b|\**\s?[:：])|ANSWER(?:\s{1,4}IS\b|\**[:：])")
CLOSEST = re.compile(
    r"\b(?:closest|nearest|correct|best|right|most\s[a-z]{1,20})\s"
    r"(?:(?:answer|given|available|matching|possible|listed)\s){0,2}(?:option|choice|match|one)\s"
    r"(?:is|would\sbe|seems\sto\sbe|appears\sto\sbe)\b"
)
# A response of nothing but a letter, perhaps with the text of its option.
WHOLE = re.compile(r"(?:option\s|choice\s)?\(?([A-Za-z])(?:\)|[.:]|\)[.:])?(?:\s+(.*))?", re.IGNORECASE)
MARKUP = " \t\r\n*_`\"'“”‘’$[]{}"
LONGEST_WHOLE = 400

# Markup and filler between the marker and the letter.
LEAD = re.compile(
    r"(?:[\s:*_`\"'“‘$\[{]|-\s|\\[\[(]|\\(?:boxed|fbox|text(?:bf|it|rm)?|math(?:rm|bf|sf)?)\s?\{"
    r"|(?:[bB]oth\s|[tT]he\s|[lL]etter\b|(?:[cC]orrect\s)?(?:[oO]ption|[cC]hoice)\b))*"
)
ENCLOSED = re.compile(r"\(\s?(?:\\text\w*\{)?[*`]*([A-Z]|[a-hj-z])[*`}]*\s?(?:\)|[.:]\s|\n|$)")
BARE = re.compile(r"([A-Z])(?![\w(\[-]|['’.:]\w)")
# A bare letter before a word is a letter only where the word goes on with the sentence: "B because", not "B cells".
GOES_ON = re.compile(
    r"\s*(?:$|\n|[.,:;!?)\]}*_`\"'”’$\\–—/&|]|-\s|\(|"
    r"(?:because|since|as|which|so|and|or|for|given|due|but|based|where|while|by|from|if|it|this|the|we|in|is)\b)"
)
# Where a letter may stand apart.
APART = re.compile(r"\((?=\s?(?:\\text\w*\{)?[*`]*[A-Za-z])|(?<![\w(*`'’])[A-Z](?!\w)")
# What joins two letters: a second one makes the answer unsettled.
JOINT = re.compile(r"[\s)}\]*_`$.\\]*(?:,\s?(?:and|or)\b|,|\band\b|\bor\b|&|/|\+|;)\s*(?:both\s)?")
# Answers to the question's own parts, "(a) .148 (b) .352", name no option.
SUB_PARTS = re.compile(
    r"\(a\)\s*[-−$]?\.?\d[\d.,/%]*(?:\s(?!not\b|since\b|because\b|than\b|is\b|or\b)[a-zA-Z%/]+){0,2}[,;]?\s+(?:and\s)?\(b\)"
)
# "I and II" speaks of statements, not of options.
ROMAN = re.compile(r"\(?[IVX]{2,4}\b")


def extract_letter(response: str, options: tuple[str, ...] | int) -> Answer:
    """The letter of a response.

    Args:
        response (`str`): the text.
        options (`tuple[str, ...]` or `int`): the question's options, or how many there are. Their texts settle
            whether "B Distress" names an option.

    Returns:
        [`Answer`]: an upper-case letter that belongs to an option, or the reason why there is none.
    """
    # Truth tables have lines that begin with `Q:`, so only the whole word cuts.
    text = final_part(response, QUESTION_LINES)
    if text is None:
        return UNFINISHED
    segments = chain(
        given(text),
        after(MARKER, text),
        labelled_final(text),
        labelled(text),
        last_line_after(A_COLON, text),
        after(CLOSEST, text),
        boxed(text),
    )
    answer = first_value(read_letter(segment, options) for segment in segments) or _whole(text, options)
    return answer or (NO_MARKER if text.strip() else EMPTY)


def last_letter(response: str, options: tuple[str, ...] | int) -> Answer:
    """The last letter of an option that stands apart in a response, announced or not; arguments as for
    [`extract_letter`].
    """
    text = final_part(response, QUESTION_LINES)
    if text is None:
        return UNFINISHED
    count = _count(options)
    found = (_letter_at(text, place.start(), options) for place in APART.finditer(text))
    letters = [each[0] for each in found if each is not None and ord(each[0]) - ord("A") < count]
    return Answer(letters[-1]) if letters else NO_VALUE if text.strip() else EMPTY


def read_letter(segment: str, options: tuple[str, ...] | int) -> Answer:
    """The one letter that begins `segment`, the text after a marker."""
    start = LEAD.match(segment).end()
    if not segment[start:].strip():
        return TRUNCATED
    if SUB_PARTS.match(segment, start):
        return SEVERAL
    found = _letter_at(segment, start, options)
    if found is None:
        return NO_VALUE
    letter, end = found
    joint = JOINT.match(segment, end)
    while joint:
        following = _letter_at(segment, LEAD.match(segment, joint.end()).end(), options)
        if following is None:
            if ROMAN.match(segment, joint.end()):
                return NO_VALUE
            break
        if following[0] != letter:
            return SEVERAL
        joint = JOINT.match(segment, following[1])
    count = _count(options)
    return Answer(letter) if ord(letter) - ord("A") < count else OUT_OF_RANGE


def _whole(text: str, options: tuple[str, ...] | int) -> Answer | None:
    """The letter that is all of a response, if it is."""
    letter = WHOLE.fullmatch(text.strip(MARKUP)) if len(text) <= LONGEST_WHOLE else None
    if letter is None:
        return None
    place, beside = ord(letter[1].upper()) - ord("A"), (letter[2] or "").strip(MARKUP + ".")
    if place >= _count(options):
        return None if beside else OUT_OF_RANGE
    if beside and (isinstance(options, int) or beside.casefold() != options[place].strip(MARKUP + ".").casefold()):
        return None
    return Answer(letter[1].upper())


def _letter_at(segment: str, start: int, options: tuple[str, ...] | int) -> tuple[str, int] | None:
    """The letter that stands at `start` and the position after it; `None` where a word or something else does."""
    match = ENCLOSED.match(segment, start)
    if match:
        return match[1].upper(), match.end()
    match = BARE.match(segment, start)
    if match is None:
        if segment.startswith("(", start):
            match = BARE.match(segment, start + 1)
            if match and JOINT.match(segment, match.end()):
                return match[1], match.end()
        return None
    letter, end = match[1], match.end()
    if GOES_ON.match(segment, end):
        return letter, end
    if not isinstance(options, int) and ord(letter) - ord("A") < len(options):
        text = options[ord(letter) - ord("A")].strip()
        if text and segment[end:].lstrip().startswith(text[:40]):
            return letter, end
    return None


def _count(options: tuple[str, ...] | int) -> int:
    return options if isinstance(options, int) else len(options)
