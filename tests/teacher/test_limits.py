import time
from types import SimpleNamespace

from hfdistill.teacher.limits import FAULTS_IN_A_ROW, Lane, backoff
from hfdistill.teacher.tempo import Tempo
from hfdistill.teacher.transport import Busy, Late


def lane(said=None, concurrency=None):
    endpoint = SimpleNamespace(identity=SimpleNamespace(limit=said), transport=SimpleNamespace(tempo=Tempo()))
    return Lane(endpoint, concurrency)


def busy(wait=None):
    return Busy("answered 429", 429, time.monotonic(), wait)


def test_the_limit_starts_at_what_the_server_says():
    assert lane(said=128).limit == 128
    assert lane().limit == 64
    assert lane(said=128, concurrency=10).limit == 10


def test_refusals_lower_the_limit_by_a_fifth_at_most_once_a_second():
    one = lane(said=100)
    for _ in range(50):
        assert not one.refused(busy())
    assert one.limit == 80
    one._lowered -= 1.1
    assert not one.refused(busy())
    assert one.limit == 64


def test_who_asks_to_come_back_later_is_not_asked_less_at_once():
    one = lane(said=100)
    assert one.refused(busy(wait=2.0))
    assert one.limit == 100


def test_a_refusal_of_the_only_request_is_about_how_often():
    one = lane(concurrency=1)
    assert one.refused(busy()) and not one.free and one.has_slot
    assert one.endpoint.transport.tempo.delay() > 0.5


def test_a_wave_of_late_answers_halves_the_limit_once():
    one, sent = lane(said=64), time.monotonic()
    for _ in range(40):
        one.late(Late("did not answer within 10 s", sent))
    assert one.limit == 32
    one.late(Late("did not answer within 10 s", time.monotonic() + 1))
    assert one.limit == 16


def test_answers_raise_the_limit_only_while_it_is_used_up_and_not_beyond_the_start():
    one = lane(said=100)
    one.limit = 10.0
    one.in_flight = 3
    for _ in range(100):
        one.answered()
    assert one.limit == 10
    one.in_flight = 200
    for _ in range(10):
        one.answered()
    assert 10.9 < one.limit < 11.1
    for _ in range(20_000):
        one.answered()
    assert one.limit == 100


def test_a_server_that_says_nothing_may_get_four_times_the_start():
    one = lane()
    one.in_flight = 1000
    for _ in range(50_000):
        one.answered()
    assert one.limit == 256


def test_after_an_outage_one_request_goes_ahead():
    one = lane(said=100)
    assert [one.faulted() for _ in range(FAULTS_IN_A_ROW)] == [False] * (FAULTS_IN_A_ROW - 1) + [True]
    one.open = True
    assert not one.free
    one.close_circuit()
    assert one.free
    one.in_flight = 1
    assert not one.free
    assert one.faulted()  # still out: one fault is enough now
    one.open = True
    one.close_circuit()
    one.answered()
    assert one.limit == 80


def test_an_endpoint_that_may_yet_answer_is_not_silent():
    one = lane(said=100)
    one.last_answer -= 100
    assert one.silent_for() == 0  # idle
    one.refused(busy())
    assert one.silent_for() > 99
    one.in_flight = 1
    assert one.silent_for() == 0
    one.in_flight, one.busy, one.open = 0, False, True
    assert one.silent_for() > 99


def test_pauses_double_up_to_a_bound_with_full_jitter():
    assert all(0 <= backoff(0, 0.5, 30.0) <= 0.5 for _ in range(100))
    assert all(0 <= backoff(99, 0.5, 30.0) <= 30 for _ in range(100))
    assert max(backoff(5, 0.5, 30.0) for _ in range(200)) > 8
