"""Hardware as it is written, and what may be launched on it."""

from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hfdistill.errors import HFDistillError
from hfdistill.runs.hardware import Machines, describe_launch
from hfdistill.runs.memory import Spread


def configs(*updates: int | None):
    reward, *ppo = updates
    sections = [{"global_batch_size": reward}, *({"rollout_batch_size": size} for size in ppo)]
    return {str(n): SimpleNamespace(stage=SimpleNamespace(**section)) for n, section in enumerate(sections)}


def test_hardware_as_it_is_written():
    assert Machines.read("h100") == Machines("h100", 1, 1)
    assert Machines.read("A100x8") == Machines("a100", 8, 1)
    assert Machines.read("2xa100-40gbx4") == Machines("a100-40gb", 4, 2)
    for text in ("", "8", "0xa100x8", "2 x a100"):
        with pytest.raises(HFDistillError, match="it reads a100x8, or 2xa100x8"):
            Machines.read(text)
    with pytest.raises(HFDistillError, match="unknown GPU 'a10', did you mean"):
        Machines.read("a10x4")


def test_processes_share_every_update_equally_on_few_machines():
    assert Machines.read("2xh100x8").spreads(configs(192, 40)) == [Spread("ddp", 8), Spread("fsdp", 8)]
    assert Machines.read("2xh100x4").spreads(configs(192, 40)) == [Spread("ddp", 8, 2), Spread("fsdp", 8, 2)]
    assert Machines.read("a100x3").spreads(configs(192, 40)) == [Spread("ddp", 2), Spread("fsdp", 2)]
    assert Machines.read("a100x8").spreads(configs(7)) == [Spread("ddp", 7), Spread("fsdp", 7)]
    assert Machines.read("a100").spreads(configs(192, 40)) == [Spread()]
    # Where nothing says what an update takes in all, each process takes as many.
    assert Machines.read("2xa100x3").spreads(configs(None))[0] == Spread("ddp", 6, 2)


@given(gpus=st.integers(1, 8), machines=st.integers(1, 3), updates=st.lists(st.integers(1, 500), min_size=1))
def test_what_is_launched_can_be(gpus, machines, updates):
    for spread in Machines("h100", gpus, machines).spreads(configs(*updates)):
        assert all(update % spread.processes == 0 for update in updates)
        assert spread.machines <= machines and spread.processes <= gpus * spread.machines
        assert spread.processes % spread.machines == 0


def test_a_launch_in_words():
    assert describe_launch(Spread()) == "one process, without a launch configuration"
    assert describe_launch(Spread("ddp", 4)) == "recipes/accelerate/ddp.yaml with num_processes: 4"
    said = "recipes/accelerate/fsdp_nodes.yaml with num_machines: 2 and num_processes: 16"
    assert describe_launch(Spread("fsdp", 16, 2)) == said
