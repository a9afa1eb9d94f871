"""The tempo of an endpoint, against servers that are counted out on a clock of their own."""

import heapq
import math
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hfdistill.teacher import tempo as tempos
from hfdistill.teacher.tempo import Tempo


@dataclass
class Clock:
    now: float = 0.0

    def monotonic(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(tempos, "time", clock)
    return clock


@dataclass
class Bucket:
    """Refuses what comes faster than `rate` a second, beyond a first `burst`; a refusal may count, too."""

    rate: float
    burst: float
    wait: float | None = None
    penalty: float = 0.0
    level: float = field(init=False)
    last: float = 0.0

    def __post_init__(self):
        self.level = self.burst

    def takes(self, now):
        self.level, self.last = min(self.burst, self.level + (now - self.last) * self.rate), now
        taken = self.level >= 1
        self.level -= 1 if taken else self.penalty
        return taken


def drive(clock, server, count, at_once=8, latency=0.01):
    """Get `count` answers; seconds, and how many requests were refused."""
    tempo, flying, done, refused, left, start = Tempo(), [], 0, 0, count, clock.now
    while done < count:
        while flying and flying[0][0] <= clock.now:
            _, taken, sent = heapq.heappop(flying)
            if taken:
                done += 1
                tempo.answered()
            else:
                refused, left = refused + 1, left + 1
                tempo.refused(sent, server.wait)
        may = left and len(flying) < at_once
        if may and not tempo.delay():
            left -= 1
            sent, taken = tempo.send(), server.takes(clock.now)
            heapq.heappush(flying, (clock.now + (latency if taken else 0.01), taken, sent))
            continue
        times = [flying[0][0]] if flying else []
        clock.now = min([*times, *([clock.now + max(tempo.delay(), 1e-6)] if may else [])], default=clock.now)
    return clock.now - start, refused


@pytest.mark.parametrize("wait", [None, 0.5, 2.0])
@pytest.mark.parametrize("rate", [2.0, 10.0])
def test_a_limit_is_learned_from_what_comes_through(clock, rate, wait):
    seconds, refused = drive(clock, Bucket(rate, 2 * rate, wait), 1000)
    assert seconds <= 1.1 * (1000 / rate - 2)
    assert refused <= 80


@pytest.mark.parametrize("at_once", [8, 128])
@pytest.mark.parametrize("penalty", [0.0, 0.2])
def test_what_may_be_sent_at_once_does_not_run_into_a_limit_at_once(clock, penalty, at_once):
    seconds, refused = drive(clock, Bucket(2.0, 4.0, 2.0, penalty), 170, at_once)
    assert seconds <= 1.15 * 83
    assert refused <= 8


@pytest.mark.parametrize("rate", [10.0, 20.0, 50.0])
def test_a_high_limit_is_found_soon(clock, rate):
    seconds, refused = drive(clock, Bucket(rate, rate, 1.0), 1200, at_once=128)
    assert seconds <= 1.15 * (1200 / rate - 1)
    assert refused <= 24


def test_answers_that_take_long_are_paced_as_well(clock):
    seconds, refused = drive(clock, Bucket(2.0, 4.0, 2.0), 400, at_once=16, latency=3.0)
    assert seconds <= 1.15 * 198 + 3
    assert refused <= 40


@settings(max_examples=30)
@given(rate=st.floats(0.2, 50), seconds=st.floats(1, 3), latency=st.floats(0, 2))
def test_whatever_the_limit_it_is_not_run_into_again_and_again(rate, seconds, latency):
    clock = Clock()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tempos, "time", clock)
        taken, refused = drive(clock, Bucket(rate, max(rate * seconds, 1.0), 1 / rate), 400, 16, latency)
    slots = 16 / max(latency, 1e-9)
    assert taken <= 1.5 * 400 / min(rate, slots) + 10
    assert refused <= 80


def test_a_pause_that_is_asked_for_is_kept(clock):
    tempo = Tempo()
    tempo.refused(tempo.send(), 7.5)
    assert tempo.delay() == 7.5
    clock.now = 8.0
    assert tempo.delay() == 0


def test_a_wave_of_refusals_counts_once(clock):
    tempo = Tempo()
    sent = [tempo.send() for _ in range(8)]
    for when in sent:
        clock.now += 0.01
        tempo.refused(when, None)
    assert tempo.delay() == pytest.approx(1.0 - 0.07)
    assert (tempo.rate, tempo.learned) == (tempos.FIRST_RATE, None)


def test_limits_that_are_told_are_kept_without_a_refusal(clock):
    tempo = Tempo()
    told = {"x-ratelimit-limit-requests": "120", "x-ratelimit-reset-requests": "1s"}
    tempo.send()
    tempo.heed({**told, "x-ratelimit-remaining-requests": "2"}, 0, None)
    assert (tempo.send(), tempo.send(), tempo.delay()) == (0, 0, 0.5)
    tokens = {"x-ratelimit-limit-tokens": "6000", "x-ratelimit-remaining-tokens": "0"}
    tempo.heed({**told, **tokens, "x-ratelimit-remaining-requests": "60"}, 0, 100)
    assert tempo.spacing == pytest.approx(1.0)


def test_the_first_wave_leaves_a_few_at_once_and_what_follows_as_it_comes(clock):
    tempo, waited = Tempo(), 0.0
    clock.now = 60.0  # made long before it is used
    for _ in range(tempos.FIRST_WAVE):
        clock.now += (delay := tempo.delay())
        waited += delay
        tempo.send()
    assert waited == pytest.approx((tempos.FIRST_WAVE / tempos.FIRST_AT_ONCE - 1) * tempos.FIRST_APART)
    clock.now += tempo.delay()
    assert [tempo.send() for _ in range(500)] and tempo.delay() == 0


def test_a_limit_of_a_day_is_no_limit_of_a_minute(clock):
    tempo = Tempo()
    told = {"x-ratelimit-limit-requests": "60", "x-ratelimit-remaining-requests": "0"}
    tempo.heed({**told, "x-ratelimit-reset-requests": "2h"}, 0, None)
    assert tempo.spacing == 0


def test_what_an_earlier_run_learned_holds_from_the_start(clock):
    tempo = Tempo(4.0)
    assert [tempo.send() for _ in range(3)] and tempo.delay() > 0
    assert math.isclose(tempo.spacing, 0.25)
