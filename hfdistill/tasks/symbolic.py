r"""When two mathematical answers are one: where their keys are equal, which makes it an equivalence.

The key of an expression is its value, rounded to 130 of 200 bits, at fixed places of its unknowns. Lists, intervals,
equations and matrices have keys made of such. What cannot be read within its bounds is its text. One reading a form:

- `50\%` is 50 and `\$5` is 5, as for answers of the kind `number`; 0.5 is neither.
- `5 \text{ cm}` is `0.05 \text{ m}`, and not 5: were 5 cm and 5 m both 5, they would be one. A word that names no
  unit, as in `5 \text{ apples}`, is left out.
- `x = 5` is 5; where a list names several unknowns, the names count.
- `3, 5`, `5 \text{ and } 3` and `\{3, 5\}` are one set, `(3, 5)` is a point or an interval, and `x > 3` is
  `(3, \infty)`.
- Decimals are exact: 0.33 is not `\frac{1}{3}`.
"""

import re
from collections.abc import Callable, Hashable, Iterable
from fractions import Fraction
from functools import lru_cache
from threading import Lock

from .arithmetic import POINTS, Scalar, Unreadable, Value, add, divide, each, mp, negate, rounded
from .latex import CLOSING, GREEK, OPENING, tokens_of, value_of
from .units import unit_of


Key = Hashable

KEY_BITS = 130
LONG_BITS = 128  # an exact number with more is its own key
SEPARATORS = frozenset((",", ";", "'and", "'or"))
RELATIONS = {
    **dict.fromkeys(("=", "\\approx", "\\equiv"), "="),
    **dict.fromkeys(("<", "\\lt"), "<"),
    **dict.fromkeys((">", "\\gt"), ">"),
    **dict.fromkeys(("\\le", "\\leq", "\\leqslant"), "<="),
    **dict.fromkeys(("\\ge", "\\geq", "\\geqslant"), ">="),
    **dict.fromkeys(("\\ne", "\\neq"), "!="),
    "\\in": "in",
}
MIRRORED = {"<": ">", ">": "<", "<=": ">=", ">=": "<="}
PAIRS = {"(": ")", "[": "]", "\\{": "\\}", "\\langle": "\\rangle"}
_LETTER = "(?:[a-zA-Z]|" + "|".join(map(re.escape, sorted(GREEK - {"\\infty"}, key=len, reverse=True))) + ")"
# What stands before `=` and only names what follows: `x`, `a_1`, `f(x)`, `f^{-1}(x)`, `(x,y)`, words.
NAME = re.compile(
    rf"(?:'\w+)+|{_LETTER}(?:_(?:\w|\{{[^{{}}]*\}}))?'*(?:\^\{{-1\}})?(?:\([^()+*/=-]*\))?|\({_LETTER}(?:,{_LETTER})+\)"
)
NOT_COMPARED = re.compile(
    r"\\(?:text(?:bf|it|rm|sf|normal)?|mbox|math(?:rm|bf|it|sf)|left|right|[,;:!])|\\?\$|[\s{}~]"
)
# `mpmath` changes the precision of its context for a while.
_LOCK = Lock()


def same_expression(a: str, b: str) -> bool:
    """Whether two mathematical answers are one: an equivalence."""
    return a == b or expression_key(a) == expression_key(b)


@lru_cache(maxsize=65_536)
def expression_key(text: str) -> Key:
    """What makes two mathematical answers one; in bounded time for any text."""
    try:
        with _LOCK:
            return _answer(tokens_of(text))
    except Unreadable:
        return "text", NOT_COMPARED.sub("", text).casefold().strip(".")


def _answer(tokens: list[str]) -> Key:
    items = [item for item in _split(tokens, SEPARATORS) if item]
    if len(items) <= 1:
        return _statement(tokens)[1]
    found = [_item(item) for item in items]
    named = len({name for name, _ in found if name is not None}) > 1
    return _collected(("named", name, key) if named and name else key for name, key in found)


def _item(tokens: list[str]) -> tuple[str | None, Key]:
    try:
        return _statement(tokens)
    except Unreadable:
        return None, ("text", "".join(tokens).casefold())


def _split(tokens: list[str], separators: Iterable[str]) -> list[list[str]]:
    """The parts of `tokens` between separators that no bracket encloses."""
    parts: list[list[str]] = [[]]
    depth = 0
    for token in tokens:
        depth += token.startswith(OPENING) - token.startswith(CLOSING)
        if depth == 0 and token in separators:
            parts.append([])
        else:
            parts[-1].append(token)
    if depth:
        raise Unreadable("a bracket stays open")
    return parts


def _collected(keys: Iterable[Key]) -> Key:
    unique = sorted(set(keys), key=repr)
    return unique[0] if len(unique) == 1 else ("set", *unique)


def _statement(tokens: list[str]) -> tuple[str | None, Key]:
    """What a relation says, with the name of what it says it of; without a relation, what stands there."""
    sides = _split(tokens, RELATIONS)
    if len(sides) == 1:
        return None, _thing(tokens)
    signs = _signs(tokens, sides)
    names = [_name(side) for side in sides]
    if set(signs) == {"="}:
        return _equation(sides, names)
    if len(sides) == 2 and signs[0] in ("in", "!=") and names[0]:
        key = _thing(sides[1])
        return names[0], key if signs[0] == "in" else ("not", key)
    return _inequality(sides, signs, names)


def _signs(tokens: list[str], sides: list[list[str]]) -> list[str]:
    signs, at = [], 0
    for side in sides[:-1]:
        at += len(side)
        signs.append(RELATIONS[tokens[at]])
        at += 1
    return signs


def _name(tokens: list[str]) -> str | None:
    text = "".join(tokens)
    return text if NAME.fullmatch(text) else None


def _equation(sides: list[list[str]], names: list[str | None]) -> tuple[str | None, Key]:
    if sides[0] and names[0]:
        return names[0], _thing(sides[-1])
    if len(sides) == 2 and names[1]:
        return names[1], _thing(sides[0])
    try:
        first = value_of(sides[0])
    except Unreadable:
        return "".join(sides[0]), _thing(sides[-1])
    values = [first, *map(value_of, sides[1:])]
    if len(sides) > 2 or not any(isinstance(value, tuple) for value in values):
        return None, _thing(sides[-1])
    solved = _solved(*sides)
    if solved is not None:
        return None, solved
    return None, ("equation", *_up_to_a_factor(values[0], values[1], lambda number: number))


def _solved(left: list[str], right: list[str]) -> Key | None:
    """What `y`, or the only unknown, is by an equation that is linear in it: so `2x - y = 3` is `y = 2x - 3`."""
    letters = {token for token in left + right if token.isalpha() and token not in "ei"}
    name = "y" if "y" in letters else min(letters) if len(letters) == 1 else None
    if name is None:
        return None
    places: list[dict[str, Value]] = [{name: Fraction(place)} for place in range(3)]
    try:
        at_0, at_1, at_2 = (_difference(*(value_of(side, known=known) for side in (left, right))) for known in places)
    except Unreadable:
        return None
    slope = _difference(at_1, at_0)
    key, zero = _value_key(slope), _number_key(Fraction(0))
    if _value_key(_difference(_difference(at_2, at_1), slope)) != zero or zero in (key, *key):
        return None
    return _value_key(each(divide, each(negate, at_0), slope))


def _difference(a: Value, b: Value) -> Value:
    return each(add, a, each(negate, b))


def _inequality(sides: list[list[str]], signs: list[str], names: list[str | None]) -> tuple[str | None, Key]:
    """An interval where bounds stand round a name, otherwise the difference of both sides up to a positive factor."""
    if any(sign not in MIRRORED for sign in signs):
        raise Unreadable("no inequality")
    if len(sides) == 2:
        if names[1] and not names[0]:
            sides, names, signs = sides[::-1], names[::-1], [MIRRORED[signs[0]]]
        if names[0]:
            bound, sign = _thing(sides[1]), signs[0]
            endless = _thing(["\\infty"] if sign[0] == ">" else ["-", "\\infty"])
            low, high = (bound, endless) if sign[0] == ">" else (endless, bound)
            return names[0], _interval(low, high, sign == ">=", sign == "<=")
        values = value_of(sides[0]), value_of(sides[1])
        values = values if signs[0][0] == ">" else values[::-1]
        return None, ("above", len(signs[0]), *_up_to_a_factor(*values, abs))
    if len(sides) == 3 and names[1] and signs[0][0] == signs[1][0]:
        if signs[0][0] == ">":
            sides, signs = sides[::-1], signs[::-1]
        return names[1], _interval(_thing(sides[0]), _thing(sides[2]), len(signs[0]) == 2, len(signs[1]) == 2)
    raise Unreadable("no single interval")


def _interval(low: Key, high: Key, with_low: bool, with_high: bool) -> Key:
    return "sequence", "[" if with_low else "(", low, high, "]" if with_high else ")"


def _up_to_a_factor(a: Value, b: Value, size: Callable[[Scalar], Scalar]) -> tuple[Key, ...]:
    difference = _difference(a, b)
    differences = [rounded(x) for x in (difference if isinstance(difference, tuple) else (difference,) * POINTS)]
    scale = next((size(difference) for difference in differences if abs(difference) > mp.mpf(2) ** -KEY_BITS), None)
    if scale is None:
        raise Unreadable("both sides are one")
    return tuple(_number_key(difference / scale) for difference in differences)


def _thing(tokens: list[str]) -> Key:
    """What stands on one side: a set, a point or an interval, a matrix, or the value of an expression."""
    tokens = _without_names_of_things(tokens)
    if not tokens:
        raise Unreadable("nothing")
    united = _split(tokens, ("\\cup",))
    if len(united) > 1:
        return _collected(_thing(part) for part in united)
    if tokens in (["\\emptyset"], ["\\varnothing"]):
        return _collected(())
    if "".join(tokens) == "\\mathbb{R}":
        return _interval(_thing(["-", "\\infty"]), _thing(["\\infty"]), False, False)
    if tokens[0].startswith("\\begin") and _closes(tokens):
        rows = _split(tokens[1:-1], ("\\\\",))
        return "matrix", tuple(tuple(map(_thing, _split(row, ("&",)))) for row in rows if row)
    if tokens[0] in PAIRS and _closes(tokens):
        parts = _split(tokens[1:-1], (",", ";"))
        if tokens[0] == "\\{":
            return _collected(_statement(part)[1] for part in parts if part)
        if len(parts) > 1:
            return "sequence", tokens[0], *map(_thing, parts), tokens[-1]
        if tokens[-1] == PAIRS[tokens[0]]:
            return _thing(parts[0])
    if "\\pm" in tokens or "\\mp" in tokens:
        return _collected(_value_key(value_of(tokens, sign)) for sign in (1, -1))
    return _value_key(value_of(tokens))


def _without_names_of_things(tokens: list[str]) -> list[str]:
    """Without a sign of percent and words at the end that name no unit, with their power."""
    end = len(tokens)
    while end > 1:
        last = end - 2 if tokens[end - 2] == "^" else end
        word = tokens[last - 1]
        if (
            word in ("%", "\\%")
            or (word == "'in" and end < len(tokens))
            or (word[0] == "'" and not unit_of(word[1:]) and word[1:] not in ("squared", "cubed"))
        ):
            end = last - 1
        else:
            break
    return tokens[:end] if end else tokens


def _closes(tokens: list[str]) -> bool:
    """Whether the bracket that opens `tokens` closes with the last one."""
    depth = 0
    for at, token in enumerate(tokens):
        depth += token.startswith(OPENING) - token.startswith(CLOSING)
        if depth == 0:
            return at == len(tokens) - 1
    return False


def _value_key(value: Value) -> Key:
    if not isinstance(value, tuple):
        return _number_key(value)
    keys = tuple(map(_number_key, value))
    return keys[0] if len(set(keys)) == 1 else ("expression", *keys)


def _number_key(number: Scalar) -> Key:
    if isinstance(number, Fraction):
        if max(number.numerator.bit_length(), number.denominator.bit_length()) > LONG_BITS:
            return "exact", number
        number = rounded(number)
        return "number", _bits(number), _bits(mp.mpf(0))
    size = max(abs(number), mp.mpf(1))
    parts = (
        part if abs(part) > size * mp.mpf(2) ** -KEY_BITS else mp.mpf(0) for part in (mp.re(number), mp.im(number))
    )
    return "number", *map(_bits, parts)


def _bits(number: mp.mpf) -> tuple[int, int]:
    """A real number rounded to `KEY_BITS`, as an odd whole number and a power of two."""
    with mp.workprec(KEY_BITS):
        mantissa, exponent = (+number).man_exp
    return (-int(mantissa) if number < 0 else int(mantissa)), exponent
