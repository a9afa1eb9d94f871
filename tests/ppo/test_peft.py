"""Training an adapter: the reference is the policy as it starts, and what is published is the policy as it ends."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from peft import AutoPeftModelForCausalLM, LoraConfig, PromptTuningConfig, get_peft_model
from ppo_toy import PROMPTS, assert_same_weights, logged, make_policy, make_trainer, weights

from hfdistill.errors import HFDistillError
from hfdistill.training.adapters import REFERENCE
from hfdistill.training.saving import last_checkpoint, save_model


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
    heads = {"value_head.weight", "value_model.base_model.model.score.modules_to_save.default.weight"}
    assert changed == {name for name in before if "lora_" in name or name in heads}
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
        assert torch.equal(policy(ids).logits, on), "the live adapter is as it was"
    assert not torch.allclose(on, off, atol=1e-4)
    torch.testing.assert_close(merged, on, atol=1e-5, rtol=0)


def trained(name="default", **options):
    """A policy with an adapter that was trained elsewhere."""
    torch.manual_seed(5)
    options = {"r": 4, "target_modules": ["q_proj", "v_proj"], "task_type": "CAUSAL_LM", **options}
    model = get_peft_model(make_policy(), LoraConfig(**options), adapter_name=name)
    for parameter_name, parameter in model.named_parameters():
        if "lora_B" in parameter_name:
            parameter.data.normal_(0, 0.3)
    return model


@pytest.mark.parametrize("name", ["default", "mine"])
def test_the_reference_of_a_trained_adapter_is_the_trained_one(tmp_path, name):
    policy = trained(name, lora_dropout=0.2)
    start = weights(policy)
    options = {"learning_rate": 1e-2, "save_strategy": "steps", "save_steps": 2, "lr_scheduler_type": "constant"}
    trainer = make_trainer(tmp_path, policy=policy, **options)
    trainer.train()
    first, second = logged(trainer, "objective/kl")
    assert first == pytest.approx(0, abs=1e-6)
    assert second != 0 and logged(trainer, "val/ratio")[0] == pytest.approx(1, abs=1e-6)
    after = weights(trainer.model.policy)
    ours, copies = ({key for key in after if f".{adapter}." in key} for adapter in (name, REFERENCE))
    assert all(not torch.equal(after[key], start[key]) for key in ours)
    assert len(copies) == len(ours) > 0
    assert all(torch.equal(after[key], start[key.replace(f".{REFERENCE}.", f".{name}.")]) for key in copies)
    # The base is there once, and a checkpoint holds the trained adapter alone.
    assert len(after) == len(start) + len(copies)
    folder = Path(last_checkpoint(tmp_path))
    assert (folder if name == "default" else folder / name).joinpath("adapter_model.safetensors").is_file()
    assert not (folder / REFERENCE).exists()
    resumed = make_trainer(tmp_path, policy=trained(name, lora_dropout=0.2), **options)
    resumed.train(resume_from_checkpoint=str(tmp_path / "checkpoint-6"))
    assert_same_weights(weights(resumed.model), weights(trainer.model), **EXACT)


@pytest.mark.parametrize("first_weights", ["pissa", False])
def test_first_weights_that_change_the_model_count_as_its_start(tmp_path, first_weights):
    peft_config = LoraConfig(r=4, target_modules=["q_proj"], init_lora_weights=first_weights)
    trainer = make_trainer(tmp_path, trainer_kwargs={"peft_config": peft_config}, total_episodes=16)
    trainer.train()
    assert logged(trainer, "objective/kl") == pytest.approx([0], abs=1e-6)


def test_the_published_policy_loads_plainly_and_training_goes_on(tmp_path):
    trainer = make_trainer(tmp_path, policy=trained(target_modules="all-linear"), learning_rate=1e-2)
    trainer.train()
    save_model(trainer.whole_policy(), trainer.processing_class, tmp_path / "published")
    read = (
        "import sys, torch; from transformers import AutoModelForCausalLM\n"
        "model = AutoModelForCausalLM.from_pretrained(sys.argv[1])\n"
        "torch.save(model(torch.tensor([[2, 4, 5, 6]])).logits, sys.argv[2])\n"
        "assert 'peft' not in sys.modules"
    )
    logits = tmp_path / "logits.pt"
    subprocess.run([sys.executable, "-c", read, str(tmp_path / "published"), str(logits)], check=True)
    with torch.no_grad():
        live = trainer.model.policy(torch.tensor([[2, 4, 5, 6]])).logits
    torch.testing.assert_close(torch.load(logits), live, atol=1e-5, rtol=0)
    before = weights(trainer.model.policy)
    trainer.args.max_steps += 4
    trainer.train()
    assert any(not torch.equal(weights(trainer.model.policy)[name], before[name]) for name in before)


def test_save_model_gives_an_adapter_that_peft_loads(tmp_path):
    make_policy().save_pretrained(tmp_path / "base")
    policy = type(make_policy()).from_pretrained(tmp_path / "base")
    trainer = make_trainer(tmp_path, policy=policy, trainer_kwargs={"peft_config": LoraConfig(r=4)})
    trainer.train()
    trainer.save_model(str(tmp_path / "saved"))
    loaded = AutoPeftModelForCausalLM.from_pretrained(tmp_path / "saved")
    ids = torch.tensor([[2, 4, 5, 6]])
    with torch.no_grad():
        assert torch.equal(loaded(ids).logits, trainer.model.policy(ids).logits)
    # What push_to_hub writes beside it.
    trainer.args.output_dir = str(tmp_path / "saved")
    trainer.create_model_card(model_name="mine")
    assert "library_name: peft" in (tmp_path / "saved" / "README.md").read_text()


def test_the_best_adapter_is_what_remains(tmp_path):
    """The first one, which changes nothing yet."""
    options = {"eval_strategy": "steps", "eval_steps": 2, "save_strategy": "steps", "save_steps": 2}
    peft_config = LoraConfig(r=4, target_modules=["q_proj"])
    judge = {"eval_func": lambda completions, **columns: [True] * len(completions), "peft_config": peft_config}
    trainer = make_trainer(
        tmp_path, evaluate=PROMPTS, trainer_kwargs=judge, eval_on_start=True, load_best_model_at_end=True, **options
    )
    trainer.train()
    assert trainer.state.best_global_step == 0
    assert_same_weights(weights(trainer.whole_policy()), weights(make_policy()), **EXACT)


def test_what_would_train_nothing_is_refused(tmp_path):
    new = {"trainer_kwargs": {"peft_config": LoraConfig(r=4, target_modules=["q_proj"])}}
    frozen, plain = trained().requires_grad_(False), make_policy().requires_grad_(False)
    with pytest.raises(HFDistillError, match=r"adapter of the policy is frozen.*is_trainable=True"):
        make_trainer(tmp_path, policy=frozen)
    with pytest.raises(HFDistillError, match="all weights of the policy are frozen"):
        make_trainer(tmp_path, policy=plain)
    with pytest.raises(HFDistillError, match="the model has an adapter, and peft_config asks for another one"):
        make_trainer(tmp_path, policy=trained(), **new)
    native = make_policy()
    native.add_adapter(LoraConfig(r=4, target_modules=["q_proj"]))
    with pytest.raises(HFDistillError, match="transformers put the policy's adapter into it"):
        make_trainer(tmp_path, policy=native)


def test_an_adapter_that_does_not_fit_is_refused(tmp_path):
    with pytest.raises(HFDistillError, match=r"does not fit into LlamaForCausalLM: Target modules .*c_attn"):
        make_trainer(tmp_path, trainer_kwargs={"peft_config": LoraConfig(target_modules=["c_attn"])})
    prompts = PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=2)
    with pytest.raises(HFDistillError, match="of type PROMPT_TUNING, which generation does not know"):
        make_trainer(tmp_path, trainer_kwargs={"peft_config": prompts})
    with pytest.raises(HFDistillError, match="of type PROMPT_TUNING, which generation does not know"):
        make_trainer(tmp_path, policy=get_peft_model(make_policy(), prompts))


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
