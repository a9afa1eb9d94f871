import pytest
from hypothesis import given
from hypothesis import strategies as st

from hfdistill.intervals import clustered_interval, interval, wilson_interval


def test_published_intervals():
    # Newcombe (1998), table I, method 3: Wilson's interval without continuity correction.
    assert wilson_interval(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert wilson_interval(15, 148) == pytest.approx((0.0624, 0.1605), abs=5e-5)
    assert wilson_interval(0, 20) == pytest.approx((0.0, 0.1611), abs=5e-5)
    assert wilson_interval(1, 29) == pytest.approx((0.0061, 0.1718), abs=5e-5)


@given(st.integers(1, 5000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_interval_holds_the_share(pair):
    correct, n = pair
    low, high = wilson_interval(correct, n)
    assert 0 <= low <= correct / n + 1e-12
    assert correct / n - 1e-12 <= high <= 1
    narrow = wilson_interval(correct, n, level=0.5)
    assert narrow[1] - narrow[0] <= high - low


def test_interval_for_the_card():
    assert interval(3, 4) == {
        "value": 0.75,
        "low": pytest.approx(0.3006, abs=1e-4),
        "high": pytest.approx(0.9544, abs=1e-4),
        "n": 4,
    }


def test_values_of_a_cluster_are_no_independent_trials():
    values = [1.0, 1.0, 1.0, 1.0, 0.0, 0.0, 1.0, 1.0, 0.0, 0.0]
    together = clustered_interval(values, [f"q{index // 2}" for index in range(10)])
    apart = clustered_interval(values, [str(index) for index in range(10)])
    assert together["value"] == apart["value"] == 0.6 and together["n"] == 10
    # As if each pair of equal values were one trial.
    assert together["high"] - together["low"] > 1.2 * (apart["high"] - apart["low"])
    assert apart["low"] == pytest.approx(interval(6, 10)["low"], abs=0.03)
    # All right in three questions is as much as three trials tell.
    assert clustered_interval([1.0] * 9, list("aaabbbccc"))["low"] == pytest.approx(wilson_interval(3, 3)[0])


@given(st.lists(st.tuples(st.sampled_from([0.0, 0.5, 1.0]), st.sampled_from("abcd")), min_size=1))
def test_a_clustered_interval_holds_its_value(rows):
    values, clusters = zip(*rows, strict=True)
    found = clustered_interval(values, clusters)
    assert 0 <= found["low"] <= found["value"] + 1e-9 and found["value"] - 1e-9 <= found["high"] <= 1


def test_an_interval_holds_its_share():
    for n in range(1, 400):
        for correct in (0, 1, n // 2, n):
            low, high = wilson_interval(correct, n)
            assert 0 <= low <= correct / n <= high <= 1, (correct, n)
