"""Answers that a response sets apart from its text: in a tag, in a JSON field, behind or below a label."""

import re
from collections import deque
from collections.abc import Iterator
from itertools import islice


WINDOW = 400
MOST_MARKERS = 64

TAG = re.compile(r"<(?:[fF]inal_?)?[aA]nswer>|<\|begin_of_box\|>")
TAG_END = re.compile(r"</|<\|")
JSON_ANSWER = re.compile(
    r"""["'](?:[fF]inal[ _]?)?[aA]nswer["']\s{0,8}:\s{0,8}"""
    r"""(?:"(?P<text>(?:[^"\\\n]|\\.){0,400})"|'(?P<quoted>[^'\n]{0,400})'|(?P<bare>[^\s,}\]"'\[{]{1,60}))"""
)

STEM = re.compile(r"[aA]nswer|ANSWER")
# A line that names the answer: a heading, or a label with the value behind it.
LABEL = re.compile(
    r"(?P<mark>[^\w\n]{0,12})(?:the\s|my\s|correct\s){0,2}(?P<final>final\s)?answer(?P<behind>[\s*_:：]{0,8})"
    r"(?P<value>.*)",
    re.IGNORECASE,
)
LISTED = re.compile(r"[*_]{0,3}(?:\d{1,2}[.)]|step\s\d+)\s*\S", re.IGNORECASE)
# What may follow an answer that does not stand at the end: a courtesy, or the explanation of the answer.
CLOSING = re.compile(
    r"[\W_]*(?:let me know|(?:i )?hope|feel free|if you|would you|do you|does (?:that|this)|is there any|happy to|"
    r"good luck|thank|you(?:['’]re| are) welcome|explanation|reasoning|justification|verification|check\b|note\b)",
    re.IGNORECASE,
)
FEW_WORDS = 5


def given(text: str) -> Iterator[str]:
    """What stands in the last tag `<answer>`, if it is one line, and in the last field `"answer"` of a JSON text."""
    if ("nswer>" in text or "begin_of_box" in text) and (tag := _last(TAG, text)):
        inside = TAG_END.split(text[tag.end() : tag.end() + WINDOW], maxsplit=1)[0].strip()
        if inside and "\n" not in inside:
            yield inside
    if ('nswer"' in text or "nswer'" in text) and (field := _last(JSON_ANSWER, text)):
        yield unescaped(field["text"]) if field["text"] is not None else field["quoted"] or field["bare"] or ""


def unescaped(text: str) -> str:
    """The text of a JSON string. Backslashes of LaTeX are often not doubled: those before a letter stay."""
    return re.sub(r'\\(["\\/])', r"\1", re.sub(r"\\n(?![a-z])", "\n", text)) if "\\" in text else text


def labelled_final(text: str) -> Iterator[str]:
    """What stands behind or below a label "Final answer", as nothing but the answer does."""
    if "inal" not in text and "INAL" not in text:
        return
    for label, below in _labels(text):
        if label["final"]:
            segment = label["value"] if _has_value(label) else below.lstrip().partition("\n\n")[0]
            if not LISTED.match(segment):
                yield segment


def labelled(text: str) -> Iterator[str]:
    """What stands behind `Answer:` or below a heading "Answer", where the text ends after it or only closes."""
    for label, below in _labels(text):
        if label["final"]:
            continue
        segment = label["value"]
        if not _has_value(label):
            segment, _, below = below.lstrip().partition("\n")
        if not below.strip() or CLOSING.match(below) or ("*" in label["mark"] and _short(segment, below)):
            yield segment


def _labels(text: str) -> Iterator[tuple[re.Match, str]]:
    """The lines that name the answer, each with the `WINDOW` characters below it."""
    for stem in islice(STEM.finditer(text), MOST_MARKERS):
        start = text.rfind("\n", max(0, stem.start() - WINDOW), stem.start()) + 1
        end = text.find("\n", stem.end(), stem.end() + WINDOW)
        end = min(len(text), stem.end() + WINDOW) if end < 0 else end
        label = LABEL.fullmatch(text, start, end)
        if label is None:
            continue
        around = label["mark"] + label["behind"]
        if (
            ":" in label["behind"]
            or "：" in label["behind"]
            or (not _has_value(label) and ("#" in around or "*" in around))
        ):
            yield label, text[end : end + WINDOW]


def _has_value(label: re.Match) -> bool:
    return bool(label["value"].strip(" *_"))


def _short(segment: str, below: str) -> bool:
    """Whether a few words stand before a single paragraph without any digit."""
    closing = below.strip()
    return (
        len(segment.split()) <= FEW_WORDS
        and len(below) < WINDOW
        and "\n" not in closing
        and not any(map(str.isdigit, closing))
    )


def _last(pattern: re.Pattern, text: str) -> re.Match | None:
    return next(iter(deque(islice(pattern.finditer(text), MOST_MARKERS), maxlen=1)), None)
