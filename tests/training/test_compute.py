"""The rough figure of what a training cost."""

from hfdistill.training.compute import training_flops


def test_six_operations_a_token_trained_and_two_a_token_sampled():
    assert training_flops(1_000, trained=10, sampled=0) == 60_000
    assert training_flops(1_000, trained=10, sampled=20) == 100_000
