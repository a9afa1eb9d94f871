"""How long a server asks to be left alone, in each of the forms that servers use."""

import time
from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hfdistill.teacher.retry_after import asked_to_wait, span_seconds


@pytest.mark.parametrize(
    ("headers", "body", "seconds"),
    [
        ({}, "", None),
        ({}, '{"error": "Model is overloaded"}', None),
        ({"retry-after": "2"}, "try again in 20s", 2),
        ({"retry-after": "0.5"}, "", 0.5),
        ({"retry-after": "20", "retry-after-ms": "1250"}, "", 1.25),
        ({"retry-after": "Wed, 21 Oct 2015 07:28:09 GMT", "date": "Wed, 21 Oct 2015 07:28:00 GMT"}, "", 9),
        ({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}, "", 0),
        ({"retry-after": "soon"}, "", None),
        ({"retry-after": "soon"}, "Please retry after 3 seconds.", 3),
        ({}, "Limit 3 / min. Please try again in 20s. Contact us", 20),
        ({}, "Rate limit reached. Please try again in 1m26.4s.", 86.4),
        ({}, "Please try again in 120ms", 0.12),
        ({}, "please retry in 12.5 seconds, or later", 12.5),
        ({}, "Wait for 2 minutes", 120),
        ({}, '{"retryDelay": "34s"}', 34),
        ({}, "try again in a while", None),
        ({"x-ratelimit-reset-requests": "6m0s", "x-ratelimit-remaining-requests": "0"}, "", 360),
        ({"x-ratelimit-reset-requests": "6m0s", "x-ratelimit-remaining-requests": "3"}, "", None),
        ({"x-ratelimit-reset-tokens": "7", "x-ratelimit-remaining-tokens": "0"}, "", 7),
    ],
)
def test_every_form_of_it(headers, body, seconds):
    found = asked_to_wait(headers, body)
    assert found == (None if seconds is None else pytest.approx(seconds))


def test_a_date_counts_from_now_where_the_server_does_not_tell_its_own():
    assert 50 < asked_to_wait({"retry-after": formatdate(time.time() + 60, usegmt=True)}, "") <= 61


@pytest.mark.parametrize("text", ["", "1x", "s", "1s2", "-1", "1e9999", "nan", "1s soon"])
def test_what_is_no_span_of_time_is_none(text):
    assert span_seconds(text) is None


@given(
    st.dictionaries(st.sampled_from(["retry-after", "retry-after-ms", "x-ratelimit-reset-tokens"]), st.text()),
    st.text(),
)
def test_whatever_is_said_is_seconds_or_nothing(headers, body):
    found = asked_to_wait({**headers, "x-ratelimit-remaining-tokens": "0"}, f"try again in {body}")
    assert found is None or found >= 0
