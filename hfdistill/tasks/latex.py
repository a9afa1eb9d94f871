"""The value of a mathematical expression in LaTeX or plain text, at fixed places of its unknowns."""

import re
from collections.abc import Callable
from fractions import Fraction

from .arithmetic import (
    Unreadable,
    Value,
    add,
    apply,
    binomial,
    bounded,
    ceiling,
    divide,
    each,
    factorial_of,
    floor,
    mp,
    multiply,
    negate,
    raise_to,
    root,
    unknown,
)
from .numbers import ENDLESS, TRANSLATION, endless_fraction
from .units import POWERS, unit_of


MOST_CHARACTERS = 2000
MOST_TOKENS = 600
DEEPEST = 40

_TEXT = r"\\(?:text(?:bf|it|rm|sf|normal)?|mbox|math(?:rm|bf|it|sf)|operatorname\*?)\s*\{([^{}]*)\}"
# Digits in groups only where no bracket is open: there a comma stands between coordinates.
_GROUPED = r"(?:[1-9]\d{0,2}(?:,\d{3})+|[1-9]\d?(?:,\d{2})+,\d{3})(?![\d,])(?:\.\d+)?"
_NUMBER = r"(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d{1,3}(?![\w.]))?"
_REST = r"\\(?:begin|end)\{[a-z]+\*?\}|\\[a-zA-Z]+|\\[\\{}|%]|[a-zA-Z]+|[^\s~]"
FREE = re.compile(rf"{_TEXT}|{_GROUPED}|{_NUMBER}|{_REST}")
BRACKETED = re.compile(rf"{_TEXT}|{_NUMBER}|{_REST}")
OPENING = ("(", "[", "{", "\\{", "\\langle", "\\begin")
CLOSING = (")", "]", "}", "\\}", "\\rangle", "\\end")

CLEANED = (
    (re.compile(r",\s?\\!\s?"), ","),
    (re.compile(r"(?<=\d)(?:\\[,!;:]|\{,\})(?=\d{3})"), ","),
    (re.compile(r"\\(?:left|right|[bB]igg?[lr]?|displaystyle|limits|q?quad|boxed|fbox)(?![a-zA-Z])\.?"), " "),
    (re.compile(r"(?<!\\)\\[ ,!;:]|\\?\$"), " "),
    (re.compile(r"\\[cdt]frac(?![a-zA-Z])"), r"\\frac"),
    (re.compile(r"\\[dt]binom(?![a-zA-Z])"), r"\\binom"),
    (re.compile(r"\\[lr]?[vV]ert(?![a-zA-Z])"), "|"),
    (
        re.compile(r"\^\s*(?:\{\s*\\circ\s*\}|\\circ(?![a-zA-Z]))|\\deg(?:ree)?(?![a-zA-Z])|°|(?<=\d)\s?degrees?\b"),
        r"\\degree ",
    ),
    (re.compile(r"\\frac\s*(\d)\s*(\d)"), r"\\frac{\1}{\2}"),
    (re.compile(r"\\frac\s*(\d)\s*\{"), r"\\frac{\1}{"),
    (re.compile(r"(\\frac\s*\{\d+\})\s*(\d)"), r"\1{\2}"),
    # A letter behind a number and a blank is a unit; `5m` is a product.
    (re.compile(r"(?<=\d)\s+([mgshlLNJWVK](?:/[mgshlLNJWVK])?)(?=(?:\^\{?\d\}?)?\s*$)"), r"\\text{\1}"),
)
MIXED = re.compile(
    r"(?<![\w.^}/,])(\d+)(?:\s*\\frac\s*\{\s*(\d+)\s*\}\s*\{\s*(\d+)\s*\}|\s+(\d+)\s*/\s*(\d+)(?![\d.]))"
)
SYMBOLS = str.maketrans(
    {
        **{"√": "\\sqrt ", "π": "\\pi ", "∞": "\\infty ", "≤": "\\le ", "≥": "\\ge ", "≠": "\\ne ", "∪": "\\cup "},
        **{"²": "^2", "³": "^3", "±": "\\pm ", "≈": "\\approx ", "∈": "\\in ", "×": "*", "∅": "\\emptyset "},
        **{"θ": "\\theta ", "α": "\\alpha ", "β": "\\beta ", "λ": "\\lambda "},
    }
)

GREEK = frozenset(
    f"\\{letter}"
    for letter in (
        *("alpha", "beta", "gamma", "delta", "epsilon", "varepsilon", "zeta", "eta", "theta", "kappa", "lambda", "mu"),
        *("nu", "xi", "rho", "sigma", "tau", "phi", "varphi", "chi", "psi", "omega", "ell", "infty"),
        *("Gamma", "Delta", "Theta", "Lambda", "Phi", "Psi", "Omega"),
    )
)
FUNCTIONS: dict[str, Callable] = {
    **{f"\\{name}": getattr(mp, name) for name in ("sin", "cos", "tan", "cot", "sec", "csc", "sinh", "cosh", "tanh")},
    **{f"\\arc{name}": getattr(mp, f"a{name}") for name in ("sin", "cos", "tan")},
    "\\exp": mp.exp,
    "\\ln": mp.log,
    "\\log": mp.log,
    "\\lg": mp.log10,
}
# Words that are commands also where no backslash stands before them.
SPELLED = frozenset(name[1:] for name in FUNCTIONS) | {"sqrt", "pi", "theta", "infty"}


def tokens_of(text: str) -> list[str]:
    """The tokens of an expression. Words, those within `\\text{…}` among them, begin with a quote; the letters of a
    product stand alone.

    Raises:
        [`Unreadable`]: if the text or its nesting is too long.
    """
    if len(text) > MOST_CHARACTERS:
        raise Unreadable("too long")
    text = text.translate(SYMBOLS).translate(TRANSLATION)
    text = ENDLESS.sub(lambda decimal: f"({endless_fraction(decimal) or '√'})", text)
    for pattern, replacement in CLEANED:
        text = pattern.sub(replacement, text)
    text = MIXED.sub(_mixed, text)
    tokens: list[str] = []
    depth = position = 0
    while match := (BRACKETED if depth else FREE).search(text, position):
        position = match.end()
        found = match[0]
        if match[1] is not None:
            tokens += _within_text(match[1])
            continue
        if found.startswith(OPENING):
            depth += found != "{"
        elif found.startswith(CLOSING):
            depth -= found != "}"
        if found[0].isalpha():
            # Two letters or more that are the whole of an answer are a word, not a product.
            tokens += [f"'{found}"] if found == text.strip() and found not in SPELLED and found[1:] else _words(found)
        else:
            tokens.append(found)
        if len(tokens) > 2 and tokens[-2] in ("/", "'per") and tokens[-3][0] == "'" and unit_of(tokens[-1]):
            tokens[-1] = "'" + tokens[-1]
        if len(tokens) > MOST_TOKENS or depth > DEEPEST:
            raise Unreadable("too long or too deep")
    return tokens


def _within_text(content: str) -> list[str]:
    if re.fullmatch(r"[a-zA-Z\s.]*", content):
        return [f"'{word}" for word in re.findall("[a-zA-Z]+", content)]
    return [f"'{token}" if token.isalpha() and unit_of(token) else token for token in tokens_of(content)]


def _words(letters: str) -> list[str]:
    if letters in SPELLED:
        return [f"\\{letters}"]
    word = len(letters) > 3 or letters in ("and", "or", "per") or (len(letters) > 1 and unit_of(letters))
    return [f"'{letters}"] if word else list(letters)


def _mixed(match: re.Match) -> str:
    whole, *parts = match.groups()
    part, parts_of = (group for group in parts if group is not None)
    if 0 < int(part) < int(parts_of):
        return f"({whole}+{part}/{parts_of})"
    return match[0]


def value_of(tokens: list[str], sign: int = 1, known: dict[str, Value] | None = None) -> Value:
    """The value of the expression that `tokens` are.

    Args:
        tokens (`list[str]`): as [`tokens_of`] gives them.
        sign (`int`): what `\\pm` stands for, 1 or -1.
        known (`dict[str, Value]`, *optional*): values of letters, instead of those that unknowns have.

    Returns:
        `Value`: a number, or a tuple of the numbers at `POINTS` points where there are unknowns.

    Raises:
        [`Unreadable`]: if it is none, has no value, or passes a bound.
    """
    reader = _Reader(tokens, sign, known or {})
    try:
        value = reader.sum()
    except (ValueError, ZeroDivisionError, OverflowError, ArithmeticError, NotImplementedError) as error:
        raise Unreadable(str(error)) from error
    if reader.at < len(tokens):
        raise Unreadable(f"{tokens[reader.at]} is left over")
    return value


class _Reader:
    """Reads tokens from left to right; each method reads one rule of the grammar and gives its value."""

    def __init__(self, tokens: list[str], sign: int, known: dict[str, Value]):
        self.tokens, self.sign, self.known = tokens, sign, known
        self.at = self.depth = self.bars = self.angle = 0

    def peek(self) -> str:
        return self.tokens[self.at] if self.at < len(self.tokens) else ""

    def take(self, expected: str | None = None) -> str:
        token = self.peek()
        if not token or (expected is not None and token != expected):
            raise Unreadable(f"{expected or 'more'} is missing")
        self.at += 1
        return token

    def sum(self) -> Value:
        value = self.product()
        while self.peek() in ("+", "-", "\\pm", "\\mp"):
            negative = self.negative(self.take())
            term = self.product()
            value = each(add, value, each(negate, term) if negative else term)
        return value

    def negative(self, sign: str) -> bool:
        return sign == "-" or sign == ("\\mp" if self.sign > 0 else "\\pm")

    def product(self) -> Value:
        value = self.factor()
        while True:
            token = self.peek()
            if token in ("*", "\\cdot", "\\times"):
                self.at += 1
                value = each(multiply, value, self.factor())
            elif token in ("/", "\\div", "'per"):
                self.at += 1
                value = each(divide, value, self.factor())
            elif self.starts(token):
                value = each(multiply, value, self.power())
            else:
                return value

    def starts(self, token: str) -> bool:
        """Whether a factor begins here that no sign of multiplication stands before."""
        if token == "|":
            return not self.bars
        return bool(token) and (
            token[0].isalnum()
            or token[0] in ".'"
            or token in ("(", "[", "{", "\\frac", "\\sqrt", "\\binom", "\\pi", "\\lfloor", "\\lceil")
            or token in GREEK
            or token in FUNCTIONS
        )

    def factor(self) -> Value:
        negative = False
        while self.peek() in ("+", "-", "\\pm", "\\mp"):
            negative ^= self.negative(self.take())
        value = self.power()
        return each(negate, value) if negative else value

    def power(self) -> Value:
        value = self.atom()
        while True:
            if self.peek() == "!":
                self.at += 1
                value = each(factorial_of, value)
            elif self.peek() == "\\degree":
                self.at += 1
                value = each(multiply, value, mp.pi / 180) if self.angle else value
            elif self.peek() == "^":
                self.at += 1
                value = each(raise_to, value, self.argument())
            else:
                return value

    def argument(self) -> Value:
        """What follows `^`, `_` or a command: a group, or one token with its sign."""
        if self.peek() in ("-", "+"):
            negative = self.take() == "-"
            return each(negate, self.argument()) if negative else self.argument()
        return self.atom()

    def atom(self) -> Value:
        self.depth += 1
        if self.depth > DEEPEST:
            raise Unreadable("too deep")
        token = self.take()
        if token[0].isdigit() or token[0] == ".":
            value = self.number(token)
        elif token[0] == "'":
            value = self.unit(token[1:])
        elif token in ("(", "[", "{"):
            value = self.enclosed({"(": ")", "[": "]", "{": "}"}[token])
        elif token == "|":
            self.bars += 1
            value = each(abs, self.sum())
            self.take("|")
            self.bars -= 1
        elif token.isalpha() or token in GREEK:
            value = self.letter(token)
        else:
            value = self.command(token)
        self.depth -= 1
        return value

    def enclosed(self, end: str) -> Value:
        bars, self.bars = self.bars, 0
        value = self.sum()
        self.take(end)
        self.bars = bars
        return value

    def number(self, token: str) -> Value:
        if re.match(r"0\d", token):
            raise Unreadable(f"{token} is no number")
        if self.peek() == "_":
            self.at += 1
            base = self.argument()
            if base not in range(2, 37):
                raise Unreadable(f"{base} is no base")
            return Fraction(int(token, int(base)))
        return bounded(Fraction(token.replace(",", "")))

    def unit(self, word: str) -> Value:
        if word in POWERS:
            return each(raise_to, self.unit(self.take().removeprefix("'")), Fraction(POWERS[word]))
        known = unit_of(word)
        if known is None:
            raise Unreadable(f"{word} is no unit")
        factor, symbol, power = known
        value = each(multiply, Fraction(factor), each(raise_to, unknown(f"unit {symbol}"), Fraction(power)))
        if self.peek() in ("'squared", "'cubed"):
            value = each(raise_to, value, Fraction(2 if self.take() == "'squared" else 3))
        return value

    def letter(self, token: str) -> Value:
        if token == "e":
            return +mp.e
        if token == "i":
            return mp.mpc(0, 1)
        if self.peek() == "_":
            self.at += 1
            start = self.at
            self.index()
            token += "_" + "".join(self.tokens[start : self.at]).strip("{}")
        return self.known[token] if token in self.known else unknown(token)

    def index(self) -> None:
        """Passes an index by: one token, or all of a group."""
        depth = 0
        while True:
            depth += {"{": 1, "}": -1}.get(self.take(), 0)
            if depth <= 0:
                return

    def command(self, token: str) -> Value:
        if token == "\\pi":
            return +mp.pi
        if token == "\\frac":
            return each(divide, self.argument(), self.argument())
        if token == "\\binom":
            return each(binomial, self.argument(), self.argument())
        if token == "\\sqrt":
            degree: Value = Fraction(2)
            if self.peek() == "[":
                self.at += 1
                degree = self.enclosed("]")
            elif re.match(r"\d\d", self.peek()):
                raise Unreadable("a root of one digit or of all")
            return each(root, self.argument(), degree)
        if token in ("\\lfloor", "\\lceil"):
            inside = self.enclosed("\\rfloor" if token == "\\lfloor" else "\\rceil")
            return each(floor if token == "\\lfloor" else ceiling, inside)
        if token in FUNCTIONS:
            return self.function(token)
        raise Unreadable(f"{token} is not known")

    def function(self, name: str) -> Value:
        base = exponent = None
        while self.peek() in ("^", "_"):
            if self.take() == "^":
                exponent = self.argument()
            elif name == "\\log":
                base = self.argument()
            else:
                raise Unreadable(f"{name} has no index")
        if exponent == -1:
            raise Unreadable("an inverse or a reciprocal")
        self.angle += 1
        if self.peek() in ("(", "{", "["):
            argument = self.atom()
        else:
            argument = self.factor()
            while self.starts(self.peek()) and self.peek() not in FUNCTIONS:
                argument = each(multiply, argument, self.power())
        self.angle -= 1
        value = each(lambda number: apply(FUNCTIONS[name], number), argument)
        if name == "\\log":
            value = each(
                divide, value, each(lambda number: apply(mp.log, number), Fraction(10) if base is None else base)
            )
        return value if exponent is None else each(raise_to, value, exponent)
