import pytest
import torch
from transformers import TrainingArguments

from hfdistill.training.loading import settle_bf16


def settled(monkeypatch, tmp_path, capabilities=None, **options):
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: False)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_f": True, **(capabilities or {})})
    args = TrainingArguments(str(tmp_path), **{"use_cpu": True, **options})
    if "bf16" not in options:
        args.bf16 = None
    settle_bf16(args)
    return args.bf16


@pytest.mark.parametrize(
    ("capabilities", "fast"),
    [({}, False), ({"avx512_bf16": True}, True), ({"amx_bf16": True}, True), ({"avx512_bf16": False}, False)],
)
def test_a_cpu_computes_in_bf16_where_it_has_instructions_for_it(monkeypatch, tmp_path, capabilities, fast):
    assert settled(monkeypatch, tmp_path, capabilities) == fast
    assert settled(monkeypatch, tmp_path, capabilities, use_cpu=False) == fast


def test_what_was_said_stays(monkeypatch, tmp_path):
    assert settled(monkeypatch, tmp_path, {"avx512_bf16": True}, bf16=False) is False
    assert settled(monkeypatch, tmp_path, bf16=True) is True
    assert settled(monkeypatch, tmp_path, {"avx512_bf16": True}, fp16=True) is False


def test_transformers_takes_it_on_a_machine_without_an_accelerator(monkeypatch, tmp_path):
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: False)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": True})
    from hfdistill.warmup.config import WarmupConfig

    args = WarmupConfig(output_dir=str(tmp_path))
    assert args.bf16 and args.device.type == "cpu"
