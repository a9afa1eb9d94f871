"""Numbers in final answers, as exact rationals: `$1,000.` is `1000`, `4.50` is `9/2`, `1 1/2` is `3/2`, `60%` is `60`.

A number is read only where the text settles on one. Two different quantities, a range, a ratio or a calculation that
is not carried out give no number, and neither does an expression with an unknown. Nothing is ever rounded.
"""

import re
from fractions import Fraction

from .base import EMPTY, EXPRESSION, NO_MARKER, NO_VALUE, SEVERAL, TRUNCATED, UNFINISHED, Answer
from .markers import CUT, NO_ABBREVIATION, WINDOW, announced, boxed, final_part, first_value
from .units import SCALES


# The whole of most answers: one plain integer, perhaps with a currency sign before and a unit word after.
PLAIN = re.compile(
    r":?\s?\$?(\d{1,9})"
    r"(?! (?:(?:hundred|[a-z]+illion|thousand|lakh|crore|third|[a-z]+th)s?|grand|mil|mn|bn|pi|sqrt|squared|cubed"
    r"|factorial)\b)"
    r"(?: (?!and\b|plus\b)[a-z]{2,20}){0,2}\.?(?:\s*\n|\s*$)"
)
SCALE_WORDS = {**SCALES, "lakh": 10**5, "crore": 10**7}
SCALE_LETTERS = {
    "k": "thousand",
    "grand": "thousand",
    "m": "million",
    "mn": "million",
    "b": "billion",
    "bn": "billion",
}

# Grouped by thousands or, as in India, by hundreds above the first thousand; `0,333` is neither.
_NUMBER = r"(?:[1-9]\d{0,2}(?:,\d{3})+(?!\d)|[1-9]\d?(?:,\d{2})+,\d{3}(?!\d)|\d+)(?:\.\d+)?|\.\d+"
QUANTITY = re.compile(
    rf"(?<![A-Za-z0-9_])(?P<whole>{_NUMBER})"
    r"(?:[eE](?P<exponent>[-+]?\d{1,2})(?![\w.])"
    r"|\s?[*×]\s?10\s?\^\s?\{?(?P<power>-?\d{1,2})\}?(?!\d)"
    rf"|\s*/\s*(?P<denominator>{_NUMBER})"
    r"|(?:\s{1,8}|\sand\s)(?P<part>\d{1,6})\s?/\s?(?P<parts>\d{1,6})(?![\d,.]*\d))?"
    rf"(?:\s?(?P<scale>{'|'.join(SCALE_WORDS)})s?\b)?"
)
UNIT_POWER = re.compile(r"\b([cmk]?m|ft|in|yd|inches|feet|yards|miles|meters|metres|units)\s?\^\s?\{?[23]\}?")
OPERATOR = re.compile(r"[-+*/^×÷:–]|\bx\b|[a-zA-Z]?\(|\)")
# What leaves a number open: an unknown or a root at it (`3x`, `5 + n`, `x - 16`, `2π`), a letter that may be a
# thousand or a unit (`5K`), characters of a longer form (`3h30`, `1e300`, `0x1F`, `1_000`, `5²`), and words.
_PART = "(?:third|fourth|fifth|sixth|seventh|eighth|ninth|tenth|hundredth|thousandth)"
UNKNOWN = re.compile(
    r"\d\s?(?:[xyznk]|pi|sqrt)\b|[\d)]\s*[-+*/^]\s*[a-zA-Z]\b|\b[a-zA-Z]\s*[+*/^]\s*[\d(]"
    r"|(?<![\w'’])[a-hj-zK-Z]\s*[-–]\s*\d|[√π±<>≤≥∞^]"
    r"|\d[KMB]\b|\d\s?(?:mil|mn|bn)\b|\d\sR\d|\d_\d|\d[⁰¹²³⁴-⁹ⁿ]"
    r"|\d(?!(?:[cdkm]?m|ft|in|yd)[23]\b)[a-zA-Z]{1,3}\d"
    r"|\b(?:half|third|quarter|twice|double|triple)(?:\sof)?\s+\d|\b(?:root\sof|log|ln|sin|cos|tan|past)\s+\d"
    r"|\b(?:half|quarter)\s(?:past|to)\b|\band\s(?:(?:a|one|three)\s)?(?:half|quarters?|thirds?)\b"
    rf"|\d\s{_PART}(?:s\b|\sof\b|\s*$)|\d\s(?:squared|cubed|factorial|to\sthe\s(?:power|\d))\b"
    r"|\b(?:plus|minus|times)\s[a-z]\b"
)
# An equation that is not solved for its unknown: `2x + 1 = 5`; and the last of two: `x = 3 and y = 4`.
UNSOLVED = re.compile(
    r"[^=]*(?:\d\s?[xyzn]\b(?!\s*\d)|(?<![\w'’])[b-hj-z]\s*[-+*/]\s*\d|\d\s*[-+*/]\s*[b-z]\b(?!\s*\d))[^=]*=[^=]*"
)
TWO_NAMES = re.compile(r"\b[a-zA-Z]\s*=\s*[^=]*?(?:[,;]|\b(?:and|or)\b)\s*(?:(?:and|or)\s)?[a-zA-Z]\s*=[^=]*$")
SENTENCE_END = re.compile(NO_ABBREVIATION + r"[.!?](?=\s|$)|<[|/]")
# A clause that explains a number which already stands.
EXPLANATION = re.compile(r"\s(?:because|since|which|as)\s|;")
# Between a number that opens the sentence and the next one: "7 dozen eggs in 4 weeks" settles on 7, and so does "60
# selling 10 jars" on 60, while "5 hours 30 minutes", "86 glasses and 42 plates" and "15 out of 20" settle on nothing.
SUBORDINATE = re.compile(
    r"\s(?:(?:on|after|for|during|within|every|per|at|[a-z]+ing)"
    r"|(?=[a-zA-Z'’/\s-]*\b(?:in|on|at|for|of|with|from|by|per|each|every|after|before|during|within|over|under|if|"
    r"when|while|that|who|to|[a-z]+(?:ing|ed))\b)[a-zA-Z'’/-]+(?:\s[a-zA-Z'’/-]+)+)\s+"
)
COORDINATE = re.compile(
    r"\b(?:and|or|plus|minus|times|but|versus|vs|power)\b|^\s*(?:in|out of)(?:\s(?:every|each))?\s*$"
    r"|^\s*for\s(?:every|each)\s*$"
    r"|\b(?:to|by|through|until)(?:\s(?:about|around|nearly|almost))?\s*$"
)
# The hour by which a number holds: "40 roses by 5 pm".
HOUR = re.compile(r"\s(?:by|at|before|after|around)\s\d{1,2}\s?(?:[ap]\.?m\b|o['’]clock\b)")
FULL_HOUR = re.compile(r"(?<![\d:.,])(1?\d|2[0-4]):00(?![\d:])")
SUB_PARTS = re.compile(r"\(?(?:a\)[\s\S]*?\bb\)|i\)[\s\S]*?\bii\))")
HEADING = re.compile(
    r"[\s*_]*(?:step|part|case|question|problem|example|option|method|phase|solution)\b", re.IGNORECASE
)
# Words with their number in brackets: "twenty-five (25) apples".
_WORD = (
    r"(?:(?:four|six|seven|eigh|nine)(?:teen|ty)|zero|one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|"
    r"thirteen|fifteen|twenty|thirty|forty|fifty|hundred|thousand|million|billion)"
)
IN_WORDS = re.compile(
    rf"\b{_WORD}(?:(?:\sand\s|,?\s|-){_WORD}){{0,15}}[*_]{{0,2}}\s\((?=\$?\d[\d,.]*\))", re.IGNORECASE
)
ASIDE = re.compile(r"(?<=[\w%])\s\([^()]*\)(?!\s*[-=+*/^])")
LEADING = re.compile(r"(?:[\s:*_`\"'“]|\\[\[(]|\$\$)*")
# Headings (`#### Step 3`) and prose after `Answer:` hold numbers that are no final answer.
LIST_ITEM = re.compile(r"\d{1,2}[.)]\s+\S")
STARTS_WITH_NUMBER = re.compile(
    r"[\s$€£¥₹*_`:(]*(?:\\[\[(]\s*)?[-−+~≈]?\s?(?:\\?\$\s?)?(?:\.?\d|\\[dt]?frac|\\boxed|\\text)"
)

CANONICAL = re.compile(r"-?[0-9]{1,400}(?:/[1-9][0-9]{0,399})?")

VULGAR_FRACTIONS = {
    **dict(zip("½⅓⅔¼¾⅕⅖⅗⅘", ("1/2", "1/3", "2/3", "1/4", "3/4", "1/5", "2/5", "3/5", "4/5"), strict=True)),
    **dict(zip("⅙⅚⅛⅜⅝⅞", ("1/6", "5/6", "1/8", "3/8", "5/8", "7/8"), strict=True)),
}
CHARACTERS = {
    **dict.fromkeys("−‒﹣－", "-"),
    **dict.fromkeys("\u00a0\u2007\u2009\u202f\u2060", " "),
    **dict.fromkeys("€£¥₹＄", "$"),
    **{vulgar: f" {parts}" for vulgar, parts in VULGAR_FRACTIONS.items()},
    **{chr(0xFF10 + digit): str(digit) for digit in range(10)},
    "⁄": "/",
    "％": "%",
    "，": ",",
    "＝": "=",
    "·": "*",
    "⋅": "*",
    "÷": "/",
    "…": "...",
}
TRANSLATION = str.maketrans(CHARACTERS)

OVERLINED = re.compile("(?:[0-9][\u0304\u0305\u0307])+")
# A block under a bar or in brackets, or dots behind a decimal.
ENDLESS = re.compile(
    r"(\d*)\.(\d*)(?:\\(?:overline|bar|dot)\s?(?:\{\s?(\d+)\s?\}|(\d))|\((\d+)\)|(?<=\d)\s?(?:\.{2,}|\\[lc]?dots\b))"
    r"(?!\d|\\(?:overline|bar|dot)\b)"
)
THRICE = re.compile(r"(\d*?)(\d+?)\2\2+")
RECURRING = re.compile(r"\.\d+\s?\(?(?:repeating|recurring)\b")
# The amount's letter, unless a closing dollar makes a formula of it.
AMOUNT = re.compile(r"(\$\s?[\d.,]*\d)\s{0,3}(grand|[mb]n|[kmb])\b(?![^$\n]*\$(?!\s?\d))", re.IGNORECASE)

FRAC = re.compile(r"\\[cdt]?frac\s?(\{[^{}]*\}|\d)\s?(\{[^{}]*\}|\d)")
LATEX = (
    (re.compile(r"\{,\}"), ","),
    (re.compile(r"(?<=\d)\\[,!;:](?=\d)"), ""),
    (re.compile(r"\\([$%#&])"), r"\1"),
    (re.compile(r"\\(?:times|cdot)\b"), "*"),
    (re.compile(r"\\div\b"), "/"),
    (re.compile(r"(?<=[\d.])\\(?:overline|bar|dot)\b"), "√"),
    (re.compile(r"\\approx\b"), "≈"),
    (re.compile(r"\\(?:text(?:bf|it|rm|sf)?|math(?:rm|bf|it|sf)|mbox|operatorname)\b"), " "),
    (re.compile(r"\\(?:quad|qquad|left|right|displaystyle|degree|circ)\b|\\[ ,!;:\[\]()]|\^\s?\{?\\circ\}?"), " "),
    (re.compile(r"\\[a-zA-Z]+"), " √ "),
    (re.compile(r"[{}]"), " "),
)


def extract_number(response: str) -> Answer:
    """The final number of a response. A tag, a JSON field and "The answer is" (the first that settles on a number,
    after the cut) go before `####` (the last one), which goes before `Answer:` on the last line and `\\boxed{}`.
    """
    text = final_part(response, CUT)
    if text is None:
        return UNFINISHED
    readers = (read_number, _read_unless_heading, _read_leading_number, read_number)
    places = zip(readers, announced(text), strict=True)
    answer = first_value(read(segment) for read, segments in places for segment in segments)
    return answer or (TRUNCATED if "####" in text else NO_MARKER if text.strip() else EMPTY)


def last_number(response: str) -> Answer:
    """The last number of a response, wherever it stands in the last `WINDOW` characters before the cut."""
    text = final_part(response, CUT)
    if text is None:
        return UNFINISHED
    tail = _plain_text(text.rstrip()[-WINDOW:])
    values = (_value(quantity, tail, bullet=False) for quantity in reversed(list(QUANTITY.finditer(tail))))
    found = next((value for value in values if value is not None), None)
    return Answer(str(found)) if found is not None else NO_VALUE if text.strip() else EMPTY


def read_number(segment: str) -> Answer:
    """The one number that `segment`, the text after a marker, settles on in its first sentence."""
    plain = PLAIN.match(segment)
    if plain:
        return Answer(str(int(plain[1])))
    start = LEADING.match(segment).end()
    new_line = "\n" in segment[:start]
    if SUB_PARTS.match(segment, start):
        return SEVERAL
    segment = segment[start:].partition("\n")[0]
    if not segment.strip():
        return TRUNCATED
    if new_line and (LIST_ITEM.match(segment) or not STARTS_WITH_NUMBER.match(segment)):
        return NO_VALUE
    segment = _plain_text(segment)
    end = SENTENCE_END.search(segment)
    return _settle(segment[: end.start()] if end else segment, bullet=new_line)


def _read_unless_heading(segment: str) -> Answer:
    return NO_VALUE if HEADING.match(segment) else read_number(segment)


def _read_leading_number(segment: str) -> Answer:
    starts = STARTS_WITH_NUMBER.match(segment) or IN_WORDS.match(segment.lstrip(" *_"))
    return read_number(segment) if starts else NO_VALUE


def _plain_text(segment: str) -> str:
    """Without LaTeX, emphasis and currency signs; a box is taken for the whole."""
    if not segment.isascii():
        segment = OVERLINED.sub(lambda digits: f"({re.sub('[^0-9]', '', digits[0])})", segment.translate(TRANSLATION))
    if "." in segment:
        segment = ENDLESS.sub(lambda decimal: endless_fraction(decimal) or "√", segment)
    if "\\" in segment or "{" in segment:
        content = next(boxed(segment), None)
        segment = segment if content is None else content
        segment = FRAC.sub(_fraction, segment)
        for pattern, replacement in LATEX:
            segment = pattern.sub(replacement, segment)
    if "^" in segment:
        segment = UNIT_POWER.sub(r"\1", segment)
    if "<<" in segment:
        segment = re.sub(r"<<[^<>]*>>", "", segment)
    if " (" in segment:
        segment = IN_WORDS.sub("(", segment)
    if ":00" in segment:
        segment = FULL_HOUR.sub(r"\1", segment)
    if "$" in segment:
        segment = AMOUNT.sub(lambda amount: f"{amount[1]} {SCALE_LETTERS[amount[2].lower()]}", segment)
        segment = re.sub(r"-\$\s?(?=[\d.])|(?<!\d)\s?\$\s?-(?=[\d.])", " -", segment).replace("$", " ")
    return segment.replace("**", " ").replace("`", " ").replace("__", " ")


def _fraction(match: re.Match) -> str:
    top, bottom = (part.strip("{}") for part in match.groups())
    if re.fullmatch(r"\s*[-\d.,{}]+\s*", top) and re.fullmatch(r"\s*[\d.,{}]+\s*", bottom):
        return f" {top.strip()}/{bottom.strip()} "
    return f" √ {top} √ {bottom} "


def endless_fraction(decimal: re.Match) -> str | None:
    """The fraction of a decimal that never ends; `None` where the digits written do not tell how it goes on: a block
    that no bar marks stands there three times.
    """
    whole, digits, *blocks = decimal.groups()
    block = next(filter(None, blocks), None)
    if block is None:
        seen = THRICE.fullmatch(digits)
        if seen is None:
            return None
        digits, block = seen.groups()
    nines = 10 ** len(digits) * (10 ** len(block) - 1)
    return str(Fraction(int(whole + digits + block) - int(whole + digits or "0"), nines))


def _settle(clause: str, bullet: bool) -> Answer:
    """The one value of a sentence; `bullet`: a dash in front stands at the start of a line."""
    first = QUANTITY.search(clause)
    if first is None or RECURRING.search(clause):
        return EXPRESSION if first or "√" in clause or "=" in clause else NO_VALUE
    if "(" in clause:
        clause = ASIDE.sub(" ", clause)
    explanation = EXPLANATION.search(clause, first.end())
    if explanation:
        clause = clause[: explanation.start()]
    if not clause[: first.start()].strip(" -+") and "=" not in clause:
        clause = clause[: first.end()] + HOUR.sub("", clause[first.end() :])
        following = QUANTITY.search(clause, first.end())
        gap = clause[first.end() : following.start()] if following else ""
        if SUBORDINATE.fullmatch(gap) and not COORDINATE.search(gap):
            clause = clause[: first.end()]
    if "=" in clause:
        if TWO_NAMES.search(clause):
            return SEVERAL
        if UNSOLVED.fullmatch(clause):
            return EXPRESSION
    for sign in "=≈":
        if sign in clause:
            clause = clause.rpartition(sign)[2]
            bullet = False
    if UNKNOWN.search(QUANTITY.sub("0", clause)):
        return EXPRESSION
    quantities = list(QUANTITY.finditer(clause))
    values = {_value(quantity, clause, bullet) for quantity in quantities}
    if None in values or not values:
        return EXPRESSION
    if len(values) > 1:
        gap = clause[quantities[0].end() : quantities[1].start()].strip()
        return EXPRESSION if re.fullmatch(r"[+*/^×]|[a-zA-Z]?\s?[+*/^×]\s?\(?|\(", gap) else SEVERAL
    if len(quantities) > 1 and OPERATOR.search(clause[quantities[0].end() : quantities[1].start()]):
        return EXPRESSION
    return Answer(str(values.pop()))


def _value(quantity: re.Match, clause: str, bullet: bool) -> Fraction | None:
    whole, denominator = quantity["whole"], quantity["denominator"]
    value = _rational(whole)
    if denominator is not None:
        divisor = _rational(denominator)
        if divisor == 0:
            return None
        value /= divisor
    elif quantity["part"] is not None:
        part, parts = int(quantity["part"]), int(quantity["parts"])
        if not 0 < part < parts or value.denominator != 1:
            return None
        value += Fraction(part, parts)
    power = quantity["exponent"] or quantity["power"]
    if power is not None:
        value *= Fraction(10) ** int(power)
    if quantity["scale"]:
        value *= SCALE_WORDS[quantity["scale"]]
    return -value if _negative(clause[: quantity.start()], bullet) else value


def _negative(before: str, bullet: bool) -> bool:
    """Whether what stands before a number makes it negative: a sign, not a hyphen, a range, a dash or a bullet."""
    stripped = before.rstrip()
    if stripped.endswith(("negative", "minus")):
        return True
    if not stripped.endswith(("-", "–")):
        return False
    left = stripped[:-1]
    if left.endswith(("-", "–")) or (left and not left[-1].isspace() and left[-1] not in "(=["):
        return False
    if left.strip():
        return stripped == before
    return not bullet or stripped == before


def _rational(text: str) -> Fraction:
    text = text.replace(",", "")
    if text.isdecimal():
        return Fraction(int(text))
    return Fraction(text)


def canonical_number(text: str) -> str | None:
    """The canonical form of a number that is written alone (a gold answer, a voted label), or `None` if it is none."""
    return read_number(text).value if QUANTITY.search(text) else None


def same_number(a: str, b: str) -> bool:
    """Equality of numbers as rationals; strings that are no number are the same when they are equal."""
    return a == b or number_key(a) == number_key(b)


def number_key(text: str) -> Fraction | str:
    """What makes two answers one: the rational, or the text itself where it is none."""
    canonical = text if CANONICAL.fullmatch(text) else canonical_number(text)
    return text if canonical is None else Fraction(canonical)
