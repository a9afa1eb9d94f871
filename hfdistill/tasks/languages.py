"""Markers of other languages: a response's own are replaced by the English ones, so that one reader serves all."""

import re
from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

from ..errors import HFDistillError


class Language(NamedTuple):
    """How one language announces an answer; patterns of regular expressions.

    Attributes:
        is_answer (`str`): "The answer is".
        label (`str`): the word in front of a colon or as a heading; `final` (`str`): what makes it the final one.
        question (`str`): the label of the next question.
        words (`dict[str, str]`): patterns around numbers and letters, with what stands for them in English.
        ending (`str`): what closes a sentence behind the answer.
        decimal_comma (`bool`): whether `1.234,5` is 1234.5.
    """

    is_answer: str
    label: str
    final: str
    question: str
    words: dict[str, str]
    ending: str = ""
    decimal_comma: bool = False


# Scales are one unit up from English ones; `千克` is a kilogram.
CHINESE_SCALES = {r"(?<=\d)\s?百[万萬]": "*10^6", r"(?<=\d)\s?[万萬]": "*10^4", r"(?<=\d)\s?[亿億]": "*10^8"}
LANGUAGES = {
    "zh": Language(
        r"答案(?:应该|应當|应|應)?(?:是|为|為|选|選)\s?[:：]?",
        r"答案|^[ \t]{0,8}答",
        r"(?:最终|最終|最后|最後)的?",
        r"问题|問題|题目|題目|问|問",
        {
            **CHINESE_SCALES,
            r"(?<=\d)\s?千(?![克米瓦卡])": "*10^3",
            r"[负負](?=\s?\d)": "-",
            r"(?<=[A-Z)])\s?(?:选项|選項|项|項)": "",
            r"(?:选项|選項)\s?(?=[(A-Z])": " option ",
            r"(?<=[A-Z)])\s?(?:和|与|與|及|或者?|、)\s?(?=[(A-Z])": " and ",
        },
    ),
    "ja": Language(
        r"(?:答え|正解|解答|回答)は、?",
        r"答え|正解|解答|回答|^[ \t]{0,8}答",
        r"(?:最終的な|最終)",
        r"質問|問題|問",
        {
            **CHINESE_SCALES,
            r"(?<=\d)\s?千": "*10^3",
            r"マイナス\s?(?=\d)": "-",
            r"選択肢\s?(?=[(A-Z])": " option ",
            r"(?<=[A-Z)])\s?(?:と|または|、)\s?(?=[(A-Z])": " and ",
        },
        r"(?:です|でした|である|だ)",
    ),
    "ko": Language(
        r"(?:정답|답변|답)(?:은|는)",
        r"정답|답변|답",
        r"최종\s?",
        r"질문|문제",
        {
            r"(?<=\d)\s?백만": "*10^6",
            r"(?<=\d)\s?천만": "*10^7",
            r"(?<=\d)\s?만": "*10^4",
            r"(?<=\d)\s?억": "*10^8",
            r"(?<=\d)\s?천": "*10^3",
            r"(?:마이너스|음수)\s?(?=\d)": "-",
            r"(?<=[A-Z)])\s?번": "",
            r"(?:선택지|보기)\s?(?=[(A-Z])": " option ",
            r"(?<=[A-Z)])\s?(?:와|과|또는|하고)\s?(?=[(A-Z])": " and ",
        },
        r"(?:입니다|이다|이에요|예요)",
    ),
    "de": Language(
        r"\b(?:[Aa]ntwort|[Ll]ösung)\s(?:ist|lautet|beträgt)(?:\s(?:also|somit|daher|folglich))?\b",
        r"\b(?:Antwort|Lösung)",
        r"\b(?:[Ee]ndgültige|[Ff]inale|[Aa]bschließende)\s",
        r"(?:Nächste\s)?(?:Frage|Aufgabe)",
        {
            r"\bTausend\b": "thousand",
            r"\b(?:Millionen|Million|Mio\.?)(?!\w)": "million",
            r"\b(?:Milliarden|Milliarde|Mrd\.?)(?!\w)": "billion",
            r"\bund\b": "and",
            r"\boder\b": "or",
        },
        decimal_comma=True,
    ),
    "fr": Language(
        r"\b[Rr][ée]ponse(?:\s(?:finale|correcte|exacte|juste))?\sest(?:\s(?:donc|alors))?(?:\sde\b)?(?:\sla\slettre)?",
        r"\b[Rr][ée]ponse(?:\s(?:correcte|exacte))?",
        r"",
        r"Question|Problème|Exercice",
        {
            r"\bmille\b": "thousand",
            r"\bmilliards?\b": "billion",
            r"\bmoins\s(?=\d)": "minus ",
            r"\bl['’]option\b": "option",
            r"\bet\b": "and",
            r"\bou\b": "or",
        },
        decimal_comma=True,
    ),
    "es": Language(
        r"\b[Rr]espuesta(?:\s(?:final|correcta))?\ses(?:\sde\b)?(?:\sla\s(?:letra|opción))?",
        r"\b[Rr]espuesta(?:\s(?:correcta))?",
        r"",
        r"(?:Siguiente\s)?(?:Pregunta|Problema)",
        {
            r"\bmil\smillones\b": "billion",
            r"\bmill(?:ón|ones)\b": "million",
            r"\bmil\b": "thousand",
            r"\bmenos\s(?=\d)": "minus ",
            r"\by\b": "and",
            r"\bo\b": "or",
        },
        decimal_comma=True,
    ),
}
ENGLISH_ALONE = ("number", "choice")

# Of a longer text, only so many characters at its end are looked at.
LONGEST = 50_000
# Full-width characters of East Asian texts.
NARROW = str.maketrans(
    {chr(code): chr(code - 0xFEE0) for code in range(0xFF01, 0xFF5F)} | {"。": ". ", "「": '"', "」": '"', "　": " "}
)
GROUPED = re.compile(r"(?<![\d.,])[1-9]\d{0,2}(?:[.\u00a0\u202f ]\d{3}){1,9}(?:,\d{1,15})?(?![.,]?\d)")
WITH_COMMA = re.compile(r"(?<![\d.,])(\d{1,15}),(\d{1,15})(?![.,]?\d)")


def checked_markers(entries: str | Sequence[str]) -> tuple[str, ...]:
    """The entries of a task's `answer_markers`: codes of languages, and phrases of one's own.

    Raises:
        [`~hfdistill.errors.HFDistillError`]: if one is no text, blank, or the code of a language that is not known.
    """
    entries = (entries,) if isinstance(entries, str) else tuple(entries)
    for entry in entries:
        if not isinstance(entry, str) or len(entry.strip()) < 2 or (len(entry) == 2 and entry not in LANGUAGES):
            raise HFDistillError(
                f"answer_markers: {entry!r} is neither one of {', '.join(LANGUAGES)} nor a phrase that announces an "
                "answer, such as 'Il risultato è'"
            )
    return entries


def in_english(text: str, entries: tuple[str, ...], answer: str) -> str:
    """A response with the markers of these `entries` replaced by English ones.

    Args:
        text (`str`): what the response says outside of its thoughts; its last `LONGEST` characters are read.
        entries (`tuple[str, ...]`): as [`checked_markers`] returns them.
        answer (`str`): the kind of answer. Around numbers and letters, words are replaced as well, and where commas
            are decimal, numbers are rewritten with a point.
    """
    before, text = text[:-LONGEST], text[-LONGEST:]
    for entry in entries:
        if entry not in LANGUAGES:
            text = text.replace(entry, "The answer is ")
            continue
        language = LANGUAGES[entry]
        if not text.isascii() and not language.decimal_comma:
            text = text.translate(NARROW)
        for pattern, english in _replacements(entry, answer in ENGLISH_ALONE):
            text = pattern.sub(english, text)
        if language.decimal_comma and answer == "number":
            text = WITH_COMMA.sub(_with_point, GROUPED.sub(_ungrouped, text))
    return before + text


@cache
def _replacements(code: str, words: bool) -> list[tuple[re.Pattern, str]]:
    language = LANGUAGES[code]
    behind = r"(?=[*_]{0,4}\s?:|[*_]{0,4}[ \t]{0,8}$)"
    made = [
        (language.is_answer, "The answer is "),
        (rf"^([#*_ ]{{0,12}})(?:{language.question})(?=[*_]{{0,4}}\s?:)\s?", r"\1Question"),
    ]
    if language.final:
        made.append((rf"{language.final}(?:{language.label}){behind}", "Final Answer"))
    made.append((rf"(?:{language.label}){behind}", "Answer"))
    if language.ending:
        made.append((rf"{language.ending}(?=[\s.!]|$)", ""))
    if words:
        made += language.words.items()
    return [(re.compile(pattern, re.MULTILINE), english) for pattern, english in made]


def _ungrouped(number: re.Match) -> str:
    return re.sub(r"[.\u00a0\u202f ]", "", number[0]).replace(",", ".")


def _with_point(number: re.Match) -> str:
    """Three digits behind a comma are taken for a thousand's, as English texts group them."""
    whole, part = number.groups()
    return number[0] if len(part) == 3 and len(whole) <= 3 and whole != "0" else f"{whole}.{part}"
