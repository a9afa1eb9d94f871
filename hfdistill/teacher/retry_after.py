"""How long a server asks to be left alone: each of the forms in which servers say it."""

import re
import time
from collections.abc import Mapping
from contextlib import suppress
from email.utils import parsedate_to_datetime


_SECONDS = {"ms": 0.001, "millisecond": 0.001, "s": 1.0, "sec": 1.0, "second": 1.0}
_SECONDS |= {"m": 60.0, "min": 60.0, "minute": 60.0, "h": 3600.0, "hour": 3600.0, "d": 86400.0, "day": 86400.0}
_PART = rf"\d+(?:\.\d+)?\s*(?:{'|'.join(sorted(_SECONDS, key=len, reverse=True))})s?(?![a-z])"
_SPAN = re.compile(rf"(?:{_PART}\s*)+", re.IGNORECASE)
_NUMBER_AND_UNIT = re.compile(r"(\d+(?:\.\d+)?)\s*([a-z]+)", re.IGNORECASE)
# In the words of an error; Google has a field for it.
_ASKED = re.compile(r'(?:(?:again|retry|wait)\s+(?:in|after|for)\s+|"retryDelay"\s*:\s*")', re.IGNORECASE)
RESETS = ("x-ratelimit-reset-requests", "x-ratelimit-reset-tokens")


def asked_to_wait(headers: Mapping[str, str], body: str) -> float | None:
    """Seconds to wait, as a refusal asks; `None` where it does not.

    The headers `retry-after-ms` and `retry-after` (seconds or a date, by the server's own clock) come first, then what
    the words of the body say ("try again in 6m0s"), which is about this request, then `x-ratelimit-reset-*` of what is
    used up.
    """
    if (milliseconds := _number(headers.get("retry-after-ms"))) is not None:
        return milliseconds / 1000
    if (told := headers.get("retry-after")) is not None:
        seconds = _number(told)
        if seconds is None:
            seconds = _until(told, headers.get("date"))
        if seconds is not None:
            return seconds
    for asked in _ASKED.finditer(body):
        if span := _SPAN.match(body, asked.end()):
            return span_seconds(span[0])
    resets = [
        span_seconds(headers[name])
        for name in RESETS
        if name in headers and _number(headers.get(name.replace("reset", "remaining"))) == 0
    ]
    return max((seconds for seconds in resets if seconds is not None), default=None)


def span_seconds(text: str) -> float | None:
    """Seconds of a span of time as OpenAI writes it (`6m0s`, `1.5s`, `120ms`), or of a bare number of seconds; `None`
    of anything else.
    """
    if (seconds := _number(text)) is not None or not _SPAN.fullmatch(text.strip()):
        return seconds
    return sum(float(count) * _SECONDS[_unit(unit.lower())] for count, unit in _NUMBER_AND_UNIT.findall(text))


def _unit(word: str) -> str:
    return word if word in _SECONDS else word.removesuffix("s")


def _number(text: str | None) -> float | None:
    if text is not None and re.fullmatch(r"\s*\d{1,9}(?:\.\d+)?\s*", text):
        return float(text)
    return None


def _until(date: str, now: str | None) -> float | None:
    with suppress(ValueError):
        then = parsedate_to_datetime(date).timestamp()
        here = parsedate_to_datetime(now).timestamp() if now else time.time()
        return max(then - here, 0.0)
    return None
