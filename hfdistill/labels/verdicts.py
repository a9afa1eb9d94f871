"""What a judge's reply says: the verdict that its prompt asked for, or why it holds none."""

import re
from dataclasses import dataclass
from functools import cached_property

from ..errors import HFDistillError
from ..tasks.thoughts import spoken


# What a verdict is for: the response, or of two the first one; or neither.
FOR, AGAINST, TIE = "for", "against", "tie"

UNREADABLE = {
    "cut": "cut off by max_new_tokens",
    "unfinished_thought": "ended within a thought",
    "no_verdict": "without a verdict",
    "off_scale": "with a score that is off the scale",
}

# Words that a prompt about one response may ask for, the good one first.
PAIRS = (
    ("yes", "no"),
    ("correct", "incorrect"),
    ("right", "wrong"),
    ("good", "bad"),
    ("pass", "fail"),
    ("true", "false"),
    ("acceptable", "unacceptable"),
    ("accept", "reject"),
)
OF_TWO = {"a": FOR, "b": AGAINST, "tie": TIE, "c": TIE}  # the last as judges of public arenas say it

NUMBER = r"\d{1,3}(?:\.\d{1,2})?"
SCALE = re.compile(
    rf"({NUMBER})(?:\s?\([^()\n]{{0,40}}\))?\s{{0,3}}(?:-|–|—|to|and|through)\s{{0,3}}({NUMBER})(?![\d.]*\d)"
)
OUT_OF = re.compile(rf"(?:/|out of)\s{{0,3}}({NUMBER})(?![\d.]*\d)")
ASKS_SCORE = re.compile(r"\b(?:score|rating|rate|grade|points?|scale)\b", re.IGNORECASE)
KEY = re.compile(r"[\"']([A-Za-z_]{2,30})[\"']\s?:")

# Not what is asked for, but why.
PROSE = {
    "reason",
    "reasons",
    "reasoning",
    "explanation",
    "rationale",
    "analysis",
    "thought",
    "thoughts",
    "comment",
    "feedback",
}
# What announces a verdict; the first kind before the second.
STRONG = ("verdict", "winner")
WEAK = ("final answer", "judgement", "judgment", "decision", "conclusion", "result", "score", "rating", "grade")
TAIL = 4000  # characters at the end of a reply that are read


@dataclass(frozen=True)
class Reading:
    """What a reply says, `"for"`, `"against"` or `"tie"`; or `None` and the reason, a key of `UNREADABLE`."""

    said: str | None
    reason: str | None = None


@dataclass(frozen=True)
class VerdictReader:
    """Reads replies to one prompt.

    Args:
        words (`dict[str, str]`): what each word that the prompt asks for means, in lower case.
        scale (`tuple[float, float]`, *optional*): lowest and highest score, where it asks for a score instead.
        good_from (`float`, *optional*): the least score that is for the response.
        keys (`tuple[str, ...]`): names of its own that the prompt gives to what it asks for, in JSON.
    """

    words: dict[str, str]
    scale: tuple[float, float] | None = None
    good_from: float | None = None
    keys: tuple[str, ...] = ()

    @property
    def asked(self) -> str:
        """What the prompt asks for, in words."""
        if self.scale is not None:
            return f"a score from {self.scale[0]:g} to {self.scale[1]:g}"
        good, bad = list(self.words)[:2]
        return f"{good} or {bad}" if self.words is not OF_TWO else "A or B"

    def read(self, reply: str, finish_reason: str | None = None) -> Reading:
        """The verdict of a reply: the last one that is announced (`Verdict: yes`, `[[7]]`, `{"score": 7}`), else what
        the last line is, or the reply begins with.
        """
        if finish_reason == "length":
            return Reading(None, "cut")
        text = spoken(reply)
        if text is None:
            return Reading(None, "unfinished_thought")
        text = self._both.sub("", text[-TAIL:])
        for pattern in self._patterns:
            found = list(pattern.finditer(text))
            if found:
                return self._meaning(found[-1])
        return Reading(None, "no_verdict")

    def _meaning(self, found: re.Match) -> Reading:
        if self.scale is None:
            return Reading(self.words[found["value"].lower()])
        low, high = self.scale
        score, highest = float(found["value"]), found["highest"]
        if not low <= score <= high or (highest and float(highest) != high):
            return Reading(None, "off_scale")
        return Reading(FOR if score >= self.good_from else AGAINST)

    @cached_property
    def _value(self) -> str:
        """A verdict as a pattern, with nothing behind it that would make it another word or number."""
        if self.scale is not None:
            return (
                rf"(?:\\boxed\{{)?(?P<value>-?{NUMBER})(?:\s?(?:/|out of)\s?(?P<highest>{NUMBER}))?"
                r"(?![\d.]*\d)(?!\s?[-–]\s?\d)"
            )
        words = "|".join(map(re.escape, self.words))
        # "no issues", "a good answer": not the word that was asked for. A yes is hardly anything else.
        ends = r"(?=[ \t]{0,3}(?:$|\n|[^\w\s'’])|[ \t](?:is|wins)\b)"
        before = r"(?:\\(?:boxed|text)\{){0,2}(?:(?:answer|response|assistant|option|an?)[ \t])?"
        return rf"{before}(?P<value>{words})\b(?:(?<=yes)|{ends})"

    @cached_property
    def _patterns(self) -> tuple[re.Pattern, ...]:
        """Ways to say a verdict, the surest first."""
        between = r"[\"'`*_]{0,4}(?:\s?\([^()\n]{0,40}\))?(?:\s(?:is|of|would be))?[^\w\]]{0,8}?"

        def announced(*names: str) -> str:
            return rf"\b(?:{'|'.join(map(re.escape, names))}){between}"

        own = (*self.keys, *STRONG, *(() if self.scale is None else ("score", "rating")))
        bracketed = rf"\[\[\s?{self._value}\s?\]\]"
        marked = rf"{announced(*own)}(?:\[\[)?\s?{self._value}"
        alone = rf"(?:^|\n)[^\w\n-]{{0,8}}{self._value}[^\w\n]{{0,8}}\s{{0,8}}$"
        first = rf"^[^\w\n]{{0,8}}{self._value}(?=[.,:;!\n]|\s[-–—])"
        ways = [bracketed, marked, announced(*WEAK) + self._value, alone]
        if self.scale is None:
            ways.append(first)
        else:
            high = re.escape(f"{self.scale[1]:g}")
            ways.append(rf"(?<![\d.])(?P<value>{NUMBER})\s?(?:/|out of)\s?(?P<highest>{high})(?![\d.]*\d)")
        return tuple(re.compile(way, re.IGNORECASE) for way in ways)

    @cached_property
    def _both(self) -> re.Pattern:
        """A line that repeats what may be said: `Verdict: yes` or `Verdict: no`."""
        if self.scale is not None:
            low, high = (re.escape(f"{end:g}") for end in self.scale)
            return re.compile(rf"\(?\b{low}\s?(?:-|–|—|to)\s?{high}\b\)?")
        good, bad = (re.escape(word) for word in list(self.words)[:2])
        ways = [
            rf"\b{one}\b[^\n]{{0,60}}(?:\bor\b|[/|])[^\n]{{0,20}}\b{two}\b" for one, two in ((good, bad), (bad, good))
        ]
        names = "|".join(map(re.escape, (*STRONG, *self.keys)))
        return re.compile(rf"(?:\b(?:{names})\W{{0,8}}|\[\[)(?:{'|'.join(ways)})[^\n]{{0,200}}", re.IGNORECASE)


def reader_of(prompt: str, compares: bool = False, good_from: float | None = None) -> VerdictReader:
    """The reader of replies to a prompt, by what it asks for.

    Two responses are told apart by letter. Of one, a prompt asks for a score where it names a scale (`1 to 10`,
    `out of 5`), or for one of two words; what it names last counts, and where it names nothing, yes or no.

    Args:
        prompt (`str`): the prompt with question and responses left out, which might name anything.
        compares (`bool`, *optional*, defaults to `False`): whether it shows two responses.
        good_from (`float`, *optional*): the least score that is for a response; 0.7 of the highest by default.

    Raises:
        [`~hfdistill.errors.HFDistillError`]: if `good_from` is not on the scale, or no score is asked for.
    """
    keys = tuple(key for key in dict.fromkeys(map(str.lower, KEY.findall(prompt))) if key not in PROSE)
    if compares:
        return VerdictReader(OF_TWO, keys=keys)
    named = {pair: min(_last(word, prompt) for word in pair) for pair in PAIRS}
    pair = max(named, key=named.__getitem__)
    scale, place = _scale(prompt)
    if scale is None or place < named[pair]:
        if good_from is not None:
            raise HFDistillError(
                f"the judge's good_from is {good_from:g}, and its prompt asks for no score: name a scale in "
                "task.judge_template (a score from 1 to 10), or leave good_from out"
            )
        return VerdictReader(dict(zip(pair, (FOR, AGAINST), strict=True)), keys=keys)
    least = 0.7 * scale[1] if good_from is None else good_from
    if not scale[0] <= least <= scale[1]:
        raise HFDistillError(
            f"the judge's good_from is {least:g}, and its prompt asks for a score from {scale[0]:g} to {scale[1]:g}: "
            "give one of these"
        )
    return VerdictReader({}, scale, least, keys)


def _last(word: str, text: str) -> int:
    """Where a word stands last in a text, -1 if it does not."""
    return max((found.start() for found in re.finditer(rf"\b{word}\b", text, re.IGNORECASE)), default=-1)


def _scale(prompt: str) -> tuple[tuple[float, float] | None, int]:
    """The scale that a prompt names, and where it speaks of the score last."""
    spoken = [found.start() for found in ASKS_SCORE.finditer(prompt)]
    if not spoken:
        return None, -1
    ranges = [found for found in SCALE.finditer(prompt) if float(found[1]) < float(found[2])]
    if ranges:
        return (float(ranges[-1][1]), float(ranges[-1][2])), max(spoken[-1], ranges[-1].end())
    tops = [*OUT_OF.finditer(prompt)]
    return ((0.0, float(tops[-1][1])), max(spoken[-1], tops[-1].end())) if tops else (None, -1)
