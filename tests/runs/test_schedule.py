"""How long steps take together."""

from hypothesis import given
from hypothesis import strategies as st

from hfdistill.runs.schedule import together
from hfdistill.runs.steps import Step


STEPS = [
    Step("label", []),
    Step("warm-up", [], after=("label",)),
    Step("reward", [], after=("label", "warm-up")),
    Step("PPO", [], after=("reward",)),
    Step("PPO vote", [], after=("reward",)),
]
SECONDS = {"label": 10.0, "warm-up": 5.0, "reward": 5.0, "PPO": 20.0, "PPO vote": 20.0}


def test_one_at_a_time_and_two():
    assert together(STEPS, SECONDS, 1) == 60.0
    assert together(STEPS, SECONDS, 2) == 40.0
    assert together(STEPS, {"PPO": 20.0, "PPO vote": 3.0}, 2) == 20.0
    assert together(STEPS, {}, 2) == 0.0


@given(st.lists(st.tuples(st.floats(0.1, 100), st.integers(0, 4)), min_size=1, max_size=25), st.integers(1, 5))
def test_no_shorter_than_a_fair_share_or_the_longest_chain_and_no_longer_than_all(given_steps, parallel):
    steps, seconds, chains = [], {}, {}
    for number, (took, back) in enumerate(given_steps):
        after = (f"s{number - back}",) if 0 < back <= number else ()
        steps.append(Step(f"s{number}", [], after))
        seconds[f"s{number}"] = took
        chains[f"s{number}"] = took + max((chains[name] for name in after), default=0.0)
    found = together(steps, seconds, parallel)
    total = sum(seconds.values())
    assert max(total / parallel, *chains.values()) <= found + 1e-6
    assert found <= total + 1e-6
