r"""Responses as a reader wants them: formulas between `$…$`, `$$…$$`, `\(…\)` and `\[…\]` as MathML, which browsers
draw without a script, steps set apart, and everything else as it was written.
"""

import re
from html import escape


LONGEST = 20_000  # characters; longer texts are shown as they are
FORMULA = re.compile(
    r"\$\$(?P<shown>[^$]{1,2000})\$\$|\\\[(?P<bracket>.{1,2000}?)\\\]|\\\((?P<round>.{1,500}?)\\\)"
    r"|\$(?P<inline>(?=[^$\n]*[\\^_={])[^$\s](?:[^$\n]{0,300}[^$\s])?|[A-Za-z])\$|(?P<bare>\\boxed\{(?:[^{}]|\{[^{}]{0,100}\}){1,200}\})",
    re.DOTALL,
)
STEP = re.compile(r"^(\s*)((?:Step \d+|\d+)[.:)])(?=\s)", re.IGNORECASE)
TOKEN = re.compile(r"\\[A-Za-z]+|\\.|\d+(?:[.,]\d+)*|[A-Za-z]|[{}^_&]|\S", re.DOTALL)
_NAMES = (
    "alpha beta gamma delta epsilon theta lambda mu pi rho sigma tau phi omega Delta Sigma Omega times cdot div pm le "
    "leq ge geq ne neq approx equiv to rightarrow Rightarrow infty sum prod int cdots ldots dots in cup cap angle "
    "degree circ % $ # & { } therefore implies"
)
_SIGNS = (
    "α β γ δ ε θ λ μ π ρ σ τ φ ω Δ Σ Ω × · ÷ ± ≤ ≤ ≥ ≥ ≠ ≠ ≈ ≡ → → ⇒ ∞ ∑ ∏ ∫ ⋯ … … ∈ ∪ ∩ ∠ ° ∘ % $ # &amp; { } ∴ ⇒"
)
SYMBOLS = dict(zip(_NAMES.split(), _SIGNS.split(), strict=True))
SPACES = {",", ";", ":", "!", " ", "quad", "qquad", "left", "right", "displaystyle", "big", "Big", "\\"}
FUNCTIONS = {"sin", "cos", "tan", "log", "ln", "exp", "min", "max", "gcd", "lcm"}
WORDS = {"text", "mathrm", "textbf", "mathbf"}
DEEPEST = 20


def written(text: str) -> str:
    """A response with its formulas drawn and its steps set apart."""
    if len(text) > LONGEST:
        return escape(text)
    pieces, end = [], 0
    for match in FORMULA.finditer(text):
        pieces += [_lines(text[end : match.start()]), _formula(match)]
        end = match.end()
    return "".join([*pieces, _lines(text[end:])])


def mathml(latex: str) -> str:
    """A formula of school mathematics as MathML.

    Raises:
        `ValueError`: if it holds anything else.
    """
    tokens = _Tokens(latex)
    return f"<math>{_row(tokens, None, 0)}</math>"


def _lines(text: str) -> str:
    lines = []
    for line in text.split("\n"):
        step = STEP.match(line)
        if step is None:
            lines.append(escape(line))
        else:
            lines.append(f"{step[1]}<b>{step[2]}</b>{escape(line[step.end() :])}")
    return "\n".join(lines)


def _formula(match: re.Match) -> str:
    latex = next(group for group in match.groups() if group is not None)
    try:
        return mathml(latex)
    except ValueError:
        return f"<code>{escape(match[0])}</code>"


class _Tokens:
    def __init__(self, latex: str):
        self.latex = latex
        self.found = list(TOKEN.finditer(latex))
        self.at = 0

    def peek(self) -> str | None:
        return self.found[self.at][0] if self.at < len(self.found) else None

    def next(self) -> str:
        token = self.peek()
        if token is None:
            raise ValueError("the formula ends too early")
        self.at += 1
        return token

    def words(self) -> str:
        """What stands between the next braces, blanks included."""
        if self.next() != "{":
            raise ValueError("there are no words")
        start = self.found[self.at - 1].end()
        while self.next() != "}":
            pass
        return self.latex[start : self.found[self.at - 1].start()]


def _row(tokens: _Tokens, end: str | None, depth: int) -> str:
    if depth > DEEPEST:
        raise ValueError("too deep")
    made: list[str] = []
    while (token := tokens.peek()) is not None and token != end:
        if token in "^_":
            tokens.next()
            base = made.pop() if made else "<mrow></mrow>"
            kind = "msup" if token == "^" else "msub"
            made.append(f"<{kind}>{base}{_argument(tokens, depth + 1)}</{kind}>")
        else:
            made.append(_one(tokens, depth))
    if end is not None and tokens.next() != end:
        raise ValueError(f"{end} is missing")
    return f"<mrow>{''.join(made)}</mrow>"


def _one(tokens: _Tokens, depth: int) -> str:
    token = tokens.next()
    if token == "{":
        return _row(tokens, "}", depth + 1)
    if token.startswith("\\"):
        return _command(token[1:], tokens, depth)
    if token[0].isdigit():
        return f"<mn>{token}</mn>"
    if token.isalpha():
        return f"<mi>{escape(token)}</mi>"
    if token in "}&^_":
        raise ValueError(f"{token} stands alone")
    return f"<mo>{'−' if token == '-' else escape(token)}</mo>"


def _argument(tokens: _Tokens, depth: int) -> str:
    """What a command takes: one thing. Of a longer number TeX takes the first digit, which nobody means."""
    if len(tokens.peek() or "") > 1 and tokens.peek()[0].isdigit():
        raise ValueError("a number without braces")
    return _one(tokens, depth)


def _command(name: str, tokens: _Tokens, depth: int) -> str:
    if depth > DEEPEST:
        raise ValueError("too deep")
    if name in ("frac", "dfrac", "tfrac"):
        return f"<mfrac>{_argument(tokens, depth + 1)}{_argument(tokens, depth + 1)}</mfrac>"
    if name == "sqrt":
        if tokens.peek() == "[":
            tokens.next()
            degree = _row(tokens, "]", depth + 1)
            return f"<mroot>{_argument(tokens, depth + 1)}{degree}</mroot>"
        return f"<msqrt>{_argument(tokens, depth + 1)}</msqrt>"
    if name == "boxed":
        return f'<mrow class="hfd-boxed">{_one(tokens, depth + 1)}</mrow>'
    if name in WORDS:
        return f"<mtext>{escape(tokens.words())}</mtext>"
    if name in SPACES:
        return '<mspace width="0.2em"></mspace>'
    if name in FUNCTIONS:
        return f"<mi>{name}</mi>"
    if name in SYMBOLS:
        return f"<mo>{SYMBOLS[name]}</mo>"
    raise ValueError(f"unknown command {name}")
