"""The section `peft`: the three trainings learn adapters, and publish plain models."""

import importlib.util
import json
import subprocess
import sys

import pytest
import torch
import yaml
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from hfdistill.artifacts.store import Store
from hfdistill.config import load_config
from hfdistill.kinds import POLICY
from hfdistill.ppo.stage import DistillPPOConfig
from hfdistill.tasks import load_task
from hfdistill.training.saving import save_model

from ..reward.test_recipes import ROOT, make_run, recipe
from .test_effects import SETTINGS


pytestmark = pytest.mark.slow

READ = """
import sys, torch
from transformers import AutoModelForCausalLM
logits = AutoModelForCausalLM.from_pretrained(sys.argv[1])(torch.tensor([[4, 9, 7, 12, 5]])).logits
torch.save(logits, sys.argv[2])
assert "peft" not in sys.modules and "hfdistill" not in sys.modules
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Warm-up and reward model of a tiny run whose base student was trained as a whole before."""
    folder = tmp_path_factory.mktemp("adapters")
    config = make_run(folder)
    content = {**yaml.safe_load(config.read_text()), **SETTINGS}
    with pytest.MonkeyPatch.context() as monkeypatch:
        config.write_text(yaml.safe_dump(content))
        assert recipe("warm_up", config, monkeypatch, "--run.suffix=-base") == 0
        content["student"]["model"] = str(folder / "artifacts" / "run-warmup-base")
        config.write_text(yaml.safe_dump({**content, "peft": {"r": 8}}))
        assert recipe("warm_up", config, monkeypatch) == 0
        assert recipe("train_reward", config, monkeypatch) == 0
    return config


def changed(before, after) -> set[str]:
    """Names of the weights that differ between two folders, which hold the same ones."""
    old, new = load_file(before / "model.safetensors"), load_file(after / "model.safetensors")
    names = old.keys() & new.keys()
    assert len(names) >= len(old) - 1
    return {name for name in names if not torch.equal(old[name], new[name])}


def test_warm_up_and_reward_model_are_plain_models(run):
    artifacts = run.parent / "artifacts"
    for before, after in (("warmup-base", "warmup"), ("warmup", "reward")):
        names = changed(artifacts / f"run-{before}", artifacts / f"run-{after}")
        assert names and all("_proj" in name for name in names), "every linear map, nothing else"
        files = {path.name for path in (artifacts / f"run-{after}").iterdir()}
        assert "model.safetensors" in files and not any("adapter" in name or name.endswith(".bin") for name in files)
        assert json.loads((artifacts / f"run-{after}" / "hfdistill.json").read_text())["config"]["peft"]["r"] == 8


def test_ppo_starts_at_its_reference_and_publishes_what_it_trained(run, tmp_path):
    spec = importlib.util.spec_from_file_location("train_ppo", ROOT / "recipes" / "train_ppo.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    flags = ["--config", str(run), "--output_dir", str(tmp_path / "out"), "--logging_steps", "1"]
    config = load_config("ppo", DistillPPOConfig, flags)
    parents = Store(config.run).open_parents(POLICY, config)
    trainer = module.make_trainer(config, load_task(config.task), parents)
    trainer.train()
    first = next(entry for entry in trainer.state.log_history if "objective/kl" in entry)
    assert first["objective/kl"] == pytest.approx(0, abs=1e-6)
    assert first["val/ratio"] == pytest.approx(1, abs=1e-6)
    trained = {name for name, value in trainer.model.named_parameters() if value.requires_grad}
    assert {name.split(".")[0] for name in trained} == {"policy", "value_model"}
    assert all("lora_" in name or "score" in name for name in trained)
    save_model(trainer.whole_policy(), trainer.processing_class, tmp_path / "policy")
    with torch.no_grad():
        live = trainer.model.policy(torch.tensor([[4, 9, 7, 12, 5]])).logits
        start = AutoModelForCausalLM.from_pretrained(parents["warmup"].path)(torch.tensor([[4, 9, 7, 12, 5]])).logits
    assert not torch.allclose(live, start, atol=1e-3)
    place = tmp_path / "logits.pt"
    subprocess.run([sys.executable, "-c", READ, str(tmp_path / "policy"), str(place)], check=True)
    torch.testing.assert_close(torch.load(place), live, atol=1e-5, rtol=0)
