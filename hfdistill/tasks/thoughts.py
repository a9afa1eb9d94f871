"""What a response says after thinking: thoughts are set apart before anything is read.

A thought stands between `<think>` and `</think>`, or another pair of marks that models are trained on; in front of a
closing mark that nothing opened, because the chat template had opened it in the prompt; or in the channels of gpt-oss,
of which only `final` speaks. A mark in backticks is spoken of, not used.
"""

import re


# The names of tags, each with a closing one, in the cases in which they are written.
TAGS = (
    *("think", "thinking", "thought", "thoughts", "reasoning", "reflection", "analysis", "scratchpad"),
    *("inner_monologue", "internal_monologue", "seed:think", "mm:think", "longcat_think"),
)
NAMES = (*TAGS, *map(str.capitalize, TAGS), *map(str.upper, TAGS))
OTHERS = {
    "[THINK]": "[/THINK]",
    "◁think▷": "◁/think▷",
    "<|begin_of_thought|>": "<|end_of_thought|>",
    "<|START_THINKING|>": "<|END_THINKING|>",
    "<|channel>thought": "<channel|>",
}
PAIRS = {f"<{name}>": f"</{name}>" for name in NAMES} | OTHERS
# Most responses have a `<` at most in a formula, which this finds out faster than the search for every mark.
BEGINNING = re.compile(r"<[/|a-zA-Z]")
MARK = re.compile(
    rf"</?(?=[{''.join({name[0] for name in NAMES})}])(?:{'|'.join(NAMES)})>|"
    + "|".join(map(re.escape, (*OTHERS, *OTHERS.values())))
)
MOST_THOUGHTS = 1000

FINAL_CHANNEL = re.compile(r"<\|channel\|>\s{0,4}final\b[^<]{0,80}(?:<\|constrain\|>[^<]{0,80})?<\|message\|>")
MESSAGE_END = re.compile(r"<\|(?:end|return|start|call)\|>")
# Without its special tokens, `<|channel|>analysis<|message|>We need` is read as "analysisWe need".
BARE_CHANNEL = re.compile(r"\s{0,20}(?:assistant\s?)?(?:analysis|commentary)(?=[A-Z\d\"“'(\[$\\*])")
BARE_FINAL = "assistantfinal"


def spoken(text: str) -> str | None:
    """What a text says outside of its thoughts, `None` where it ends within one.

    Of what follows closing marks that nothing opened, this is what stands behind the last.
    """
    parts, unfinished = spoken_parts(text)
    return None if unfinished else parts[-1]


def spoken_parts(text: str) -> tuple[list[str], bool]:
    """What stands outside of thoughts, divided where a thought ended that nothing had opened.

    Returns:
        `tuple[list[str], bool]`: the parts, at least one and only a single one blank, each without the thoughts within
        it; and whether the text ends in a thought.
    """
    if not (BEGINNING.search(text) or "THINK]" in text or "◁" in text):
        return _without_bare_channels(text)
    if "<|channel|>" in text:
        final = FINAL_CHANNEL.search(text)
        if final is None:
            return [""], True
        end = MESSAGE_END.search(text, final.end())
        return [text[final.end() : end.start() if end else len(text)]], False
    parts, said, start, opened = [], "", 0, False
    for _ in range(MOST_THOUGHTS):
        mark = MARK.search(text, start)
        if mark is None:
            break
        if text[mark.start() - 1 : mark.start()] == "`":
            said += text[start : mark.end()]
            start = mark.end()
            continue
        said += text[start : mark.start()]
        closing = PAIRS.get(mark[0])
        if closing is None:
            parts.append(said)
            said, start = "", mark.end()
            continue
        end, opened = text.find(closing, mark.end()), True
        if end < 0:
            return _behind_thoughts([*parts, said], opened), True
        said += "\n"
        start = end + len(closing)
    if not (parts or opened):
        return _without_bare_channels(text)
    return _behind_thoughts([*parts, said + text[start:]], opened), False


def _behind_thoughts(parts: list[str], opened: bool) -> list[str]:
    """The parts behind the first, which was a thought. A closing mark at the end of a text that had opened its
    thoughts ends none.
    """
    if len(parts) == 1:
        return parts
    return [part for part in parts[1:] if part.strip()] or [parts[0] if opened else ""]


def _without_bare_channels(text: str) -> tuple[list[str], bool]:
    """As [`spoken_parts`], of a text whose channels lost their special tokens."""
    if BARE_FINAL in text:
        return [text.partition(BARE_FINAL)[2]], False
    return [text], BARE_CHANNEL.match(text) is not None
