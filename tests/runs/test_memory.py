"""What stages take: counted by hand, beside what a process did take, and in words."""

import argparse
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from transformers import Gemma2Config, GPT2Config, LlamaConfig, Qwen3Config

from hfdistill.commands import estimate as command
from hfdistill.config import load_config
from hfdistill.errors import HFDistillError
from hfdistill.evaluation.config import EvaluateConfig
from hfdistill.ppo.stage import DistillPPOConfig
from hfdistill.runs import fitting
from hfdistill.runs.hardware import Machines
from hfdistill.runs.hours import Asked, stage_hours
from hfdistill.runs.memory import PROCESS, CountedModel, Lengths, Need, Spread, read_spread, stage_need
from hfdistill.sections import AdapterConfig


ROOT = Path(__file__).parents[2]
TINY = {"vocab_size": 300, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2}
HEADS = {"num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8, "pad_token_id": 0}
LLAMA_3B = LlamaConfig(
    vocab_size=128256,
    hidden_size=3072,
    intermediate_size=8192,
    num_hidden_layers=28,
    num_attention_heads=24,
    num_key_value_heads=8,
    tie_word_embeddings=True,
    bos_token_id=1,
    eos_token_id=2,
)
LLAMA_1B = LlamaConfig(
    vocab_size=128256,
    hidden_size=2048,
    intermediate_size=8192,
    num_hidden_layers=16,
    num_attention_heads=32,
    num_key_value_heads=8,
    tie_word_embeddings=True,
    bos_token_id=1,
    eos_token_id=2,
)
MORE = ("checkpointing", "adapters")
LENGTHS = Lengths(200, 1000, 512)


@pytest.fixture(scope="module")
def large() -> CountedModel:
    return CountedModel(LLAMA_3B)


@pytest.fixture
def settings(tmp_path) -> dict:
    path = tmp_path / "run.yaml"
    path.write_text(yaml.safe_dump({"run": {"name": "r"}, "task": {"name": "gsm8k"}, "student": {"model": "m"}}))
    options = ["--config", str(path), "--bf16", "false", "--per_device_train_batch_size", "4"]
    return vars(load_config("ppo", DistillPPOConfig, options).stage)


@pytest.mark.parametrize(
    "config",
    [
        LlamaConfig(**TINY, **HEADS),
        Qwen3Config(**TINY, **HEADS),
        Gemma2Config(**TINY, **HEADS, query_pre_attn_scalar=8),
        GPT2Config(vocab_size=300, n_embd=32, n_layer=2, n_head=4, bos_token_id=0, eos_token_id=1),
    ],
    ids=lambda config: config.model_type,
)
def test_any_family_is_counted_by_its_config(config):
    student = CountedModel(config)
    heads = 4 if config.model_type == "gpt2" else 2
    assert (student.vocabulary, student.hidden, student.layers, student.cached) == (300, 32, 2, 2 * 2 * heads * 8)
    assert student.parameters - student.backbone == (0 if config.tie_word_embeddings else 300 * 32)
    long = student.activations(64)
    eager = config.model_type == "gemma2"  # which caps its scores, and so keeps them
    assert (long > 2 * student.activations(32)) if eager else long == 2 * student.activations(32)
    assert 10 < long / (64 * 2 * 32 * 4) < 50  # tensors of the hidden size in a layer
    assert student.activations(64, checkpointing=True) == 2 * 64 * 32 * 4 + long / 2


def test_a_3b_student_by_hand(large, settings):
    assert large.parameters == 3_212_749_824
    need = stage_need("ppo", large, settings, LENGTHS, Spread())
    both = large.parameters + large.backbone
    assert [need.parts[name] for name in ("weights", "gradients", "moments")] == [4 * both, 4 * both, 8 * both]
    assert need.parts["reference"] == need.parts["reward model"] == 4 * large.parameters
    assert need.disk == 4 * large.parameters + 3 * 12 * both  # two checkpoints and the one that is being written
    assert need.parts["weights"] + need.parts["moments"] > 77e9
    halved = stage_need("ppo", large, {**settings, "bf16": True}, LENGTHS, Spread())
    assert halved.parts["weights"] == 6 * both and halved.parts["activations"] < need.parts["activations"]
    shared = stage_need("ppo", large, {**settings, "value_backbone": "shared"}, LENGTHS, Spread())
    assert shared.parts["moments"] == 8 * large.parameters


def test_an_evaluation_by_hand(large):
    asked = Asked(0, 0, 1000, 0, 200.0, 800.0, 256.0, 512)

    def taken(**section) -> tuple[Need, float]:
        stage = vars(EvaluateConfig(few_shot=[], **section))
        hours = stage_hours("evaluate", large, stage, asked, Spread(), Machines("h100"))
        return stage_need("evaluate", large, stage, LENGTHS, Spread()), hours

    bare, scored, voted = taken(), taken(score=True), taken(votes=[4, 8])
    assert "reward model" not in bare[0].parts
    assert scored[0].parts["reward model"] == voted[0].parts["reward model"] == 4 * large.backbone
    reading = 2 * large.backbone * (200 + 256) / (989e12 * 0.3) / 3600  # of one response
    assert scored[1] - bare[1] == pytest.approx(3 * 1000 * reading)
    # Two of the three rows are sampled: 32 batches of 256 each, where one response to each question takes four.
    assert voted[1] - scored[1] == pytest.approx(2 * 8 * bare[1] / 3 + 2 * 8 * 1000 * reading)


def test_adapters_by_hand(settings):
    student = CountedModel(LlamaConfig(**TINY, **HEADS), AdapterConfig(r=4))
    # Queries and outputs, keys and values, the three maps of the MLP, in two layers.
    assert student.adapter == student.backbone_adapter == 2 * 4 * (2 * (32 + 32) + 2 * (32 + 16) + 3 * (32 + 48))
    plain = CountedModel(LlamaConfig(**TINY, **HEADS))
    assert (student.parameters, student.backbone) == (plain.parameters, plain.backbone)
    need = stage_need("ppo", student, settings, LENGTHS, Spread())
    adapters, weights = 2 * student.adapter, plain.parameters + plain.backbone
    found = [need.parts[name] for name in ("weights", "gradients", "moments", "reward model")]
    assert found == [4 * (weights + adapters), 4 * adapters, 8 * adapters, 4 * plain.backbone]
    assert "reference" not in need.parts
    assert need.disk == 4 * plain.parameters + 3 * 12 * adapters
    # With nothing to compute, the largest is the model that is published.
    least = {**settings, "generation_batch_size": 0, "per_device_train_batch_size": 0}
    need = stage_need("ppo", student, least, LENGTHS, Spread())
    assert need.setting is None and need.parts["merged copy"] == 4 * (plain.parameters + student.adapter)
    assert "nothing here" in fitting.find_way_out("ppo", student, least, LENGTHS, Spread(), PROCESS)


def test_what_processes_share():
    def parts(spread):
        return [spread.trained(100.0, bf16=False)[name] for name in ("weights", "gradients", "moments")]

    folder = ROOT / "recipes" / "accelerate"
    spreads = {name: read_spread(str(folder / f"{name}.yaml")) for name in ("ddp", "zero2", "zero3", "fsdp")}
    assert all(spread == Spread(name, 4) for name, spread in spreads.items())
    assert parts(Spread()) == [400, 400, 800]
    assert parts(spreads["ddp"]) == [400, 800, 800]
    assert parts(spreads["zero2"]) == [400, 100, 200]
    assert parts(spreads["zero3"]) == parts(spreads["fsdp"]) == [100, 100, 200]
    assert spreads["zero2"].trained(100.0, bf16=False, adapter=8.0) == {"weights": 432, "gradients": 8, "moments": 16}
    with pytest.raises(HFDistillError, match="no launch configuration at 'nowhere"):
        read_spread("nowhere.yaml")
    with pytest.raises(HFDistillError, match="is no launch configuration of accelerate"):
        read_spread(str(ROOT / "recipes/configs/word_problems/demo.yaml"))


def test_the_way_out_fits(large, settings):
    settings = {**settings, "bf16": True}
    found = fitting.find_way_out("ppo", large, settings, LENGTHS, Spread("ddp", 4), 80e9)
    assert found == "it fits with ppo.per_device_train_batch_size=2 and 4 processes by recipes/accelerate/fsdp.yaml"
    changed = {**settings, "per_device_train_batch_size": 2}
    assert stage_need("ppo", large, changed, LENGTHS, Spread("fsdp", 4)).memory < 80e9
    assert stage_need("ppo", large, settings, LENGTHS, Spread("fsdp", 4)).memory > 80e9
    assert "nothing here" in fitting.find_way_out("ppo", large, settings, LENGTHS, Spread(), 1e9)


def test_the_paper_s_presets_fit_as_they_say(large, monkeypatch):
    models = {"1b": CountedModel(LLAMA_1B), "3b": large}
    lengths = {"gsm8k": Lengths(250, 600, 512), "mmlu_pro": Lengths(900, 1300, 1024)}
    for path in sorted((ROOT / "recipes" / "configs").glob("*/*_to_*b.yaml")):
        monkeypatch.setattr(fitting, "count_student", lambda config, name=path.stem[-2:]: models[name])
        monkeypatch.setattr(fitting, "prompt_lengths", lambda config, task=path.parent.name: lengths[task])
        head = path.read_text(encoding="utf-8")
        (launch,) = set(re.findall(r"--accelerate_config (recipes/accelerate/\w+\.yaml)", head))
        fits = fitting.fit_run(str(path), [], str(ROOT / launch), 80.0).fits
        assert all(fit.fits for fit in fits), [
            (path.stem, fit.need.stage, fit.way_out) for fit in fits if not fit.fits
        ]
        said = float(re.search(r"(\d+) GB of disk for checkpoints", head)[1])
        assert max(fit.need.disk for fit in fits) / 1e9 == pytest.approx(said, rel=0.1)


def write_run(folder, student, **more) -> Path:
    task = {"name": "word_problems", "train": 20, "validation": 5, "test": 5}
    path = folder / "run.yaml"
    sections = {"run": {"name": "r", "push": False, "output_dir": str(folder / "runs")}, "task": task}
    sections |= {"teacher": {"model": "t"}, "student": {"model": str(student)}, **more}
    path.write_text(yaml.safe_dump(sections))
    return path


def run(path, capsys, *words):
    parser = argparse.ArgumentParser()
    command.add_parser(parser.add_subparsers())
    args = parser.parse_args(["estimate", str(path), "--questions", "0", *words])
    args.func(args)
    return capsys.readouterr().out


def test_the_command_says_what_fits_and_what_does_not(tmp_path, capsys):
    LlamaConfig(**TINY, **HEADS).save_pretrained(tmp_path / "student")  # and no weights
    path = write_run(tmp_path, tmp_path / "student")
    made = json.loads(run(path, capsys, "--json"))
    assert [fit["need"]["stage"] for fit in made["memory"]] == ["warmup", "reward", "ppo", "evaluate"]
    assert all(fit["fits"] and fit["disk_fits"] for fit in made["memory"])
    adapted = write_run(tmp_path, tmp_path / "student", peft={"r": 4})
    less = json.loads(run(adapted, capsys, "--json"))
    moments = [[fit["need"]["parts"].get("moments", 0) for fit in each["memory"]] for each in (made, less)]
    assert all(few < many / 4 for many, few in zip(*moments, strict=True) if many)
    path = write_run(tmp_path, tmp_path / "student")
    out = run(path, capsys, "--device_memory", "0.61")
    assert "There are 0.6 GB of memory on the device that is planned for" in out
    assert "reward does not fit into the memory: it fits with reward.per_device_train_batch_size=" in out


def test_the_command_plans_for_other_hardware(tmp_path, capsys):
    LlamaConfig(**TINY, **HEADS).save_pretrained(tmp_path / "student")
    batches = {
        "warmup": {"global_batch_size": 96},
        "reward": {"global_batch_size": 96},
        "ppo": {"rollout_batch_size": 16},
    }
    path = write_run(tmp_path, tmp_path / "student", **batches)
    made = json.loads(run(path, capsys, "--json", "--hardware", "h100x3"))
    assert made["launch"] == {"kind": "ddp", "processes": 2, "machines": 1}
    assert all(fit["hours"] > 0 for fit in made["memory"])
    out = " ".join(run(path, capsys, "--hardware", "h100x3").split())
    assert "Launch it by recipes/accelerate/ddp.yaml with num_processes: 2." in out
    assert "More of the 3 GPUs cannot share" in out and "The hours are computed, not measured" in out
    with pytest.raises(HFDistillError, match="leave the other two out"):
        run(path, capsys, "--hardware", "h100x3", "--device_memory", "80")


def test_a_student_that_is_not_there_is_said(tmp_path, capsys):
    (tmp_path / "student").mkdir()
    out = run(write_run(tmp_path, tmp_path / "student"), capsys)
    assert "What memory the student takes cannot be told: student.model is" in " ".join(out.split())


def test_a_machine_is_shared_by_its_processes(tmp_path):
    alone, shared = (fitting.find_device(str(tmp_path / "new" / "folder"), processes, None) for processes in (1, 2))
    assert shared.memory == pytest.approx(alone.memory / 2, rel=0.2) and shared.disk > 0
    assert fitting.find_device(str(tmp_path), 1, 7.0).memory == 7e9


@pytest.mark.skipif(sys.platform != "linux", reason="a process's peak is read from /proc")
@pytest.mark.slow
@pytest.mark.parametrize("words", [(), *((word,) for word in MORE)])
def test_the_estimate_beside_a_measured_peak(tmp_path, words):
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("measured.py")), str(tmp_path), *words],
        capture_output=True,
        text=True,
        timeout=250,
        # What is freed goes back at once: small tensors would leave gaps in the heap, and these are small.
        env={**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'tests/ppo'}", "MALLOC_MMAP_THRESHOLD_": "65536"},
    )
    assert done.returncode == 0, done.stderr
    figures = json.loads(done.stdout.splitlines()[-1])
    assert figures["estimated"] == pytest.approx(figures["grew"], rel=0.35)
