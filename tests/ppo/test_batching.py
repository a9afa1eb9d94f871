from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hfdistill.ppo.batching import deal, episode_seeds, mini_batches, share_prompts, update_rows


@pytest.mark.parametrize("rows,size", [(10, 4), (3, 8), (1, 5), (8, 8)])
def test_every_pass_sees_every_question_once(rows, size):
    seen = [row for update in range(rows) for row in update_rows(rows, 3, update, size)]
    assert len(seen) == rows * size
    for epoch in range(size):
        assert sorted(seen[epoch * rows : (epoch + 1) * rows]) == list(range(rows))


def test_the_order_changes_between_passes_and_seeds():
    assert update_rows(50, 0, 0, 50) != update_rows(50, 0, 1, 50)
    assert update_rows(50, 0, 0, 50) != update_rows(50, 1, 0, 50)


def test_seeds_differ():
    seeds = episode_seeds(0, 0, 256) + episode_seeds(0, 1, 256) + episode_seeds(1, 0, 256)
    assert len(set(seeds)) == len(seeds)
    assert all(0 <= seed < 2**63 for seed in seeds)


@given(
    lengths=st.lists(st.integers(1, 60), min_size=1, max_size=40),
    processes=st.integers(1, 4),
    max_rows=st.integers(1, 8),
    max_tokens=st.none() | st.integers(1, 200),
)
def test_deal(lengths, processes, max_rows, max_tokens):
    batch = deal(range(len(lengths)), lengths, processes, max_rows, max_tokens)
    assert sorted(batch.episodes) == list(range(len(lengths)))
    plan = batch.passes
    assert len(plan) == processes
    assert len({len(passes) for passes in plan}) == 1
    assert Counter(i for passes in plan for rows in passes for i in rows) == Counter(range(len(lengths)))
    for passes in plan:
        for rows in passes:
            assert len(rows) <= max_rows
            if max_tokens is not None and len(rows) > 1:
                assert len(rows) * max(lengths[i] for i in rows) <= max_tokens


@given(drawn=st.lists(st.integers(0, 5), max_size=30), processes=st.integers(1, 4))
def test_all_responses_to_a_prompt_are_one_process_s(drawn, processes):
    shares = [share_prompts(drawn, rank, processes) for rank in range(processes)]
    assert sorted(number for share in shares for number in share) == list(range(len(drawn)))
    prompts = [{drawn[number] for number in share} for share in shares]
    assert sum(map(len, prompts)) == len(set(drawn))
    assert max(map(len, prompts)) - min(map(len, prompts)) <= 1
    assert all(share == sorted(share) for share in shares)


@given(episodes=st.integers(1, 50), number=st.integers(1, 5), epoch=st.integers(0, 3))
def test_mini_batches(episodes, number, epoch):
    parts = mini_batches(episodes, number, 0, 7, epoch)
    assert len(parts) == number
    assert sorted(i for part in parts for i in part) == list(range(episodes))
