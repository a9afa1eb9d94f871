"""An update takes `global_batch_size` examples, whatever the number of processes."""

from types import SimpleNamespace

import pytest

from hfdistill.errors import HFDistillError
from hfdistill.reward.config import RewardConfig
from hfdistill.training.global_batch import divide_global_batch
from hfdistill.warmup.config import WarmupConfig


ON_CPU = {"output_dir": "unused", "use_cpu": True, "bf16": False}


def divided(processes: int, **settings) -> SimpleNamespace:
    """The training arguments that a division reads, and what becomes of them."""
    given = {"global_batch_size": None, "per_device_train_batch_size": 8, "gradient_accumulation_steps": 1}
    args = SimpleNamespace(**{**given, "deepspeed": None, "world_size": processes, **settings})
    divide_global_batch("warmup", args)
    return args


@pytest.mark.parametrize("total", [296, 280, 336, 160, 128, 48, 7 * 24])
@pytest.mark.parametrize("processes", [1, 2, 4, 8])
@pytest.mark.parametrize("most", [1, 9, 21, 1000])
def test_processes_and_passes_make_up_the_update(total, processes, most):
    args = divided(processes, global_batch_size=total, per_device_train_batch_size=most)
    assert args.per_device_train_batch_size * args.gradient_accumulation_steps * processes == total
    assert 1 <= args.per_device_train_batch_size <= most
    larger = range(args.per_device_train_batch_size + 1, most + 1)
    assert not [rows for rows in larger if (total // processes) % rows == 0]


def test_without_it_nothing_is_worked_out():
    args = divided(4, per_device_train_batch_size=5, gradient_accumulation_steps=3)
    assert (args.per_device_train_batch_size, args.gradient_accumulation_steps) == (5, 3)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"global_batch_size": 74}, "global_batch_size is 74, which 4 processes cannot share .* set it to 72"),
        ({"global_batch_size": 3}, "set it to 4"),
        ({"global_batch_size": 0}, "global_batch_size is 0: it must be positive"),
        ({"global_batch_size": 8, "per_device_train_batch_size": 0}, "per_device_train_batch_size is 0"),
        ({"global_batch_size": 8, "gradient_accumulation_steps": 2}, "gradient_accumulation_steps is 2 beside"),
        ({"global_batch_size": 8, "deepspeed": "zero.json"}, "accelerate launch"),
    ],
)
def test_what_cannot_be_divided_is_said_in_a_sentence(settings, message):
    with pytest.raises(HFDistillError, match=message) as caught:
        divided(4, **settings)
    assert str(caught.value).startswith("warmup.") and "\n" not in str(caught.value)


@pytest.mark.parametrize("cls", [WarmupConfig, RewardConfig])
def test_both_trainings_divide_it_and_do_without_validation(cls):
    args = cls(**ON_CPU, global_batch_size=74, per_device_train_batch_size=40, eval_strategy="no")
    assert (args.per_device_train_batch_size, args.gradient_accumulation_steps) == (37, 2)
    assert not args.load_best_model_at_end
    assert cls(**ON_CPU).load_best_model_at_end
