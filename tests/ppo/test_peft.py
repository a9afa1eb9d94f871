"""Training an adapter: the reference is the policy with the adapter off."""

from pathlib import Path

import pytest
import torch
from peft import LoraConfig
from ppo_toy import assert_same_weights, logged, make_policy, make_trainer, weights

from hfdistill.training.saving import last_checkpoint


EXACT = {"atol": 0, "rtol": 0}


def run(folder, total_episodes=32, **kwargs):
    peft_config = LoraConfig(r=4, target_modules=["q_proj", "v_proj"])
    trainer = make_trainer(
        folder,
        trainer_kwargs={"peft_config": peft_config},
        total_episodes=total_episodes,
        learning_rate=1e-2,
        **kwargs,
    )
    before = weights(trainer.model)
    trainer.train(resume_from_checkpoint=last_checkpoint(folder))
    return trainer, before


@pytest.mark.parametrize("backbone", ["separate", "shared"])
def test_only_adapter_and_value_change(tmp_path, backbone):
    trainer, before = run(tmp_path, value_backbone=backbone)
    after = weights(trainer.model)
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert {name for name in changed if name.startswith("policy.")} == {name for name in before if "lora_" in name}
    assert any(name.startswith("value_") for name in changed)
    assert trainer.rollouts.reference is None


def test_the_adapter_follows_the_seed(tmp_path):
    runs = []
    for seed in (3, 3, 4):
        policy = make_policy()
        torch.manual_seed(len(runs))
        config = LoraConfig(r=4, target_modules=["q_proj"])
        trainer = make_trainer(tmp_path, policy=policy, trainer_kwargs={"peft_config": config}, seed=seed)
        runs.append(weights(trainer.model))
    name = next(name for name in runs[0] if "lora_A" in name)
    assert torch.equal(runs[0][name], runs[1][name]) and not torch.equal(runs[0][name], runs[2][name])


def test_the_kl_is_measured_with_the_adapter_off(tmp_path):
    trainer, _ = run(tmp_path)
    first, second = logged(trainer, "objective/kl")
    assert first == pytest.approx(0, abs=1e-5)
    assert second != 0
    policy = trainer.model.policy
    ids = torch.tensor([[2, 4, 5, 6]])
    with torch.no_grad():
        on = policy(ids).logits
        with policy.disable_adapter():
            off = policy(ids).logits
        merged = trainer.whole_policy()(ids).logits
    assert not torch.allclose(on, off, atol=1e-4)
    torch.testing.assert_close(merged, on, atol=1e-5, rtol=0)


def test_it_resumes_exactly(tmp_path):
    options = {"save_strategy": "steps", "save_steps": 2, "lr_scheduler_type": "constant"}
    whole, _ = run(tmp_path / "whole", total_episodes=48, **options)
    run(tmp_path / "cut", total_episodes=24, **options)
    resumed, _ = run(tmp_path / "cut", total_episodes=48, **options)
    assert resumed.state.global_step == 12
    assert_same_weights(weights(resumed.model), weights(whole.model), **EXACT)


def test_a_checkpoint_holds_the_adapter_alone(tmp_path):
    run(tmp_path, save_strategy="steps", save_steps=8)
    saved = {path.name for path in Path(last_checkpoint(tmp_path)).iterdir()}
    assert "adapter_model.safetensors" in saved
    assert "model.safetensors" not in saved
