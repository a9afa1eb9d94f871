"""Answers that a response takes back in words: "I need to correct this", "wait, I forgot the second day".

Without such words the first answer stays: what follows it is more often a repetition or an invented question than a
better answer.
"""

import re


# What announces an answer, as far as a search for it must know.
STEMS = ("nswer", "NSWER", "####", "\\boxed{", "\\fbox{")
ANNOUNCED = re.compile(r"[aA]nswer|ANSWER|####|\\[bf]o?x(?:ed)?\s?\{")

_MISTAKE = r"(?:mistake|error|slip|typo|miscalculation|miscount|oversight)s?"
_WRONG = r"(?:wrong|incorrect|mistaken|not\s(?:right|correct))"
RETRACTION = re.compile(
    r"\b(?:(?:I|we)(?:['’]ve|\shave|\shad|\sjust|\salso|\sactually|\srealize\sI){0,2}\s(?:"
    r"(?:need|have|want|must|should|would\slike)\s(?:to\s)?(?:correct|revise|fix|amend|rectify|retract|change|redo)\b"
    rf"|made\s(?:an?|the|some|my)\s(?:[a-z]+\s){{0,2}}{_MISTAKE}"
    r"|forgot|overlooked|misread|miscounted|miscalculated|misinterpreted|misunderstood|mis-?stated"
    rf"|(?:was|were)\s{_WRONG})"
    rf"|(?:that|this)(?:['’]s|\sis|\swas)\s(?:actually\s)?{_WRONG}\b(?!\s(?:because|since|as)\b)"
    r"|(?:my|the|our)\s(?:above|previous|earlier|first|initial|original|last)\s(?:[a-z]+\s){0,2}(?:is|was)\s"
    rf"(?:actually\s)?{_WRONG}"
    r"|let(?:['’]s|\sme|\sus)\s(?:correct|fix|revise|amend|redo|rectify)\b"
    rf"|(?:there|here)(?:['’]s|\sis|\swas)\san?\s{_MISTAKE}\s(?:in\s(?:my|the|our)|above)"
    r"|(?:wait|hold\son|oh|actually)\b\W{1,4}no\b|scratch\sthat|strike\sthat|on\ssecond\sthoughts?|oops"
    r"|my\s(?:mistake|bad|apologies)\b|apologies\sfor\b|I\sapologi[sz]e"
    r"|(?:corrected|revised)(?=\s(?:final\s)?answer)|correction(?=\s?:))",
    re.IGNORECASE,
)
# How far in front of the last announcement words of retraction are looked for.
FAR = 20_000


def standing(text: str) -> str:
    """What follows the last retraction between two announcements of an answer; the whole text where there is none."""
    if sum(map(text.count, STEMS)) < 2:
        return text
    first = min(at for at in map(text.find, STEMS) if at >= 0)
    last = max(map(text.rfind, STEMS))
    end = 0
    for retraction in RETRACTION.finditer(text, max(first, last - FAR), last + len(STEMS[0])):
        end = retraction.end()
    return text[end:] if end and ANNOUNCED.search(text, end) else text
