"""What the section `baseline` refuses, and what becomes of its batches."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hfdistill.baselines.arguments import largest_part, trl_arguments
from hfdistill.baselines.config import BaselineConfig
from hfdistill.baselines.inputs import parent_roles
from hfdistill.config import load_config
from hfdistill.errors import HFDistillError


GIVEN = ["--task.name", "word_problems", "--run.name", "x", "--student.model", "a/b", "--use_cpu", "yes"]


def load(*flags: str):
    return load_config("baseline", BaselineConfig, [*GIVEN, *flags])


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--method", "gpro"], "did you mean 'grpo'"),
        (["--rollout_batch_size", "36"], r"36, which 8 \(num_generations\) does not divide: set it to 32"),
        (["--rollout_batch_size", "40", "--num_mini_batches", "3"], r"which 3 \(num_mini_batches\) .* set it to 39"),
        (["--trl", "{los_type: grpo}"], "did you mean 'loss_type'"),
        (["--trl", "{num_generations: 4}"], "field in baseline.trl for grpo: 'num_generations'"),
        (["--method", "rloo", "--trl", "{loss_type: grpo}"], "field in baseline.trl for rloo: 'loss_type'"),
        (["--trl", "grpo"], "it must hold keys and values"),
        (["--temperature", "0"], "baseline.temperature is 0.0: it must be positive"),
        (["--rewards", "destilled"], "did you mean 'distilled'"),
        (["--gradient_accumulation_steps", "2"], "gradient_accumulation_steps"),
    ],
)
def test_a_mistake_is_one_sentence(flags, message):
    with pytest.raises(HFDistillError, match=message):
        load(*flags)


def test_the_fields_of_trl_reach_it():
    config = load("--trl", "{loss_type: grpo, epsilon_high: 0.28}", "--beta", "0.04", "--total_episodes", "400")
    args = trl_arguments(config.stage, config.asked)
    assert (args.loss_type, args.epsilon_high, args.beta) == ("grpo", 0.28, 0.04)
    assert (args.max_steps, args.generation_batch_size, args.max_completion_length) == (10, 40, 64)
    assert trl_arguments(load().stage, load().asked).beta == 0.0  # TRL's default


def test_a_method_reads_what_it_needs():
    assert parent_roles(load().stage) == ("warmup", "triples", "labels", "reward")
    assert parent_roles(load("--rewards", "vote").stage) == ("warmup", "triples", "labels")
    assert parent_roles(load("--rewards", "my.rewards:f").stage) == ("warmup", "triples", "labels", "reward")
    assert parent_roles(load("--method", "ttrl").stage) == ("warmup", "labels")


def test_what_a_method_does_not_read_decides_nothing():
    from hfdistill.kinds import BASELINE

    def identity(*flags):
        return load(*flags).identity(BASELINE)

    for flags in (["--beta", "0.1"], ["--num_generations", "5"], ["--rewards", "vote"]):
        assert identity("--method", "distillation", *flags) == identity("--method", "distillation")
        assert identity(*flags) != identity()


@given(
    mini_batches=st.integers(1, 4),
    generations=st.integers(2, 5),
    groups=st.integers(1, 6),
    rows=st.integers(1, 64),
    iterations=st.integers(1, 3),
    rollouts=st.integers(1, 20),
    share=st.floats(0.01, 1.0, exclude_max=True),
)
@settings(max_examples=15)
def test_an_update_takes_what_was_asked_for(mini_batches, generations, groups, rows, iterations, rollouts, share):
    size = mini_batches * generations * groups
    flags = {
        "rollout_batch_size": size,
        "num_mini_batches": mini_batches,
        "num_generations": generations,
        "per_device_train_batch_size": rows,
        "num_iterations": iterations,
        "total_episodes": rollouts * size,
        "eval_steps": share,
        "save_steps": share,
    }
    config = load(*[word for name, value in flags.items() for word in (f"--{name}", str(value))])
    args = trl_arguments(config.stage, config.asked)
    unit = mini_batches * iterations
    assert args.generation_batch_size == size and args.max_steps == rollouts * unit
    assert args.per_device_train_batch_size * args.gradient_accumulation_steps * mini_batches == size
    assert args.per_device_train_batch_size <= rows
    assert args.eval_steps % unit == args.save_steps % unit == args.logging_steps % unit == 0
    assert args.save_steps % args.logging_steps == 0


@given(st.integers(1, 500), st.integers(1, 500))
def test_the_largest_part(total, most):
    part = largest_part(total, most)
    assert total % part == 0 and part <= most
    assert not any(total % larger == 0 for larger in range(part + 1, min(total, most) + 1))
