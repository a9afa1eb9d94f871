"""Adapters of warm-up and reward model: resumed exactly, published merged, refused where they do not fit."""

import copy

import numpy as np
import pytest
import torch
from peft import LoraConfig
from transformers import AutoModelForCausalLM, TrainerCallback

from hfdistill.config import load_config
from hfdistill.errors import HFDistillError
from hfdistill.reward.config import RewardConfig
from hfdistill.reward.model import initialise_reward_model, load_reward_model
from hfdistill.reward.trainer import TripletTrainer
from hfdistill.sections import AdapterConfig
from hfdistill.training.adapters import CAUSAL, SCALAR, add_adapter, lora_config, merged
from hfdistill.training.saving import save_trained
from hfdistill.warmup.config import WarmupConfig

from ..reward.conftest import PAD, draw_triples, make_tokenizer
from ..warmup import test_trainer as warmup


SETTINGS = AdapterConfig(r=4, lora_dropout=0.1)
STEPS = {"eval_strategy": "steps", "eval_steps": 4, "save_strategy": "steps", "save_steps": 4, "num_train_epochs": 2}
STEPS |= {"early_stopping_patience": 0, "learning_rate": 1e-2, "per_device_train_batch_size": 8}
STEPS |= {"use_cpu": True, "bf16": False, "disable_tqdm": True, "logging_steps": 1}


class Killed(TrainerCallback):
    """Ends the training as a kill does."""

    def on_step_begin(self, args, state, control, **kwargs):
        if state.global_step == 11:
            raise KeyboardInterrupt


def make_warmup(folder, student, encoder, callbacks=None):
    model = add_adapter(copy.deepcopy(student), lora_config(SETTINGS), 3, CAUSAL)
    return warmup.make(model, WarmupConfig(str(folder), **STEPS), encoder, callbacks=callbacks)


def make_reward(folder, student_folder, callbacks=None):
    model = add_adapter(initialise_reward_model(student_folder, PAD), lora_config(SETTINGS), 3, SCALAR)
    triples = draw_triples(64, seed=1), draw_triples(20, seed=2)
    return TripletTrainer(model, RewardConfig(str(folder), **STEPS), *triples, make_tokenizer(), callbacks)


@pytest.mark.parametrize("stage", ["warmup", "reward"])
def test_an_adapter_resumes_exactly_and_is_published_merged(tmp_path, student, encoder, student_folder, stage):
    def make(folder, callbacks=None):
        if stage == "warmup":
            return make_warmup(tmp_path / folder, student, encoder, callbacks)
        return make_reward(tmp_path / folder, student_folder, callbacks)

    whole = make("whole")
    before = {name: value.clone() for name, value in whole.model.state_dict().items()}
    whole.train()
    after = whole.model.state_dict()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed and all("lora_" in name or "score.modules_to_save" in name for name in changed)
    with pytest.raises(KeyboardInterrupt):
        make("cut", [Killed()]).train()
    resumed = make("cut")
    resumed.train(resume_from_checkpoint=True)
    assert all(torch.equal(value, after[name]) for name, value in resumed.model.state_dict().items())
    save_trained(whole, tmp_path / "published")
    if stage == "warmup":
        ids = torch.tensor([[4, 9, 7, 12, 5]])
        whole.model.eval()
        with torch.no_grad():
            published = AutoModelForCausalLM.from_pretrained(tmp_path / "published")(ids).logits
            torch.testing.assert_close(published, whole.model(ids).logits, atol=1e-5, rtol=0)
        return
    scores, present = whole.predict_scores(whole.eval_dataset)
    plain = make("plain")
    plain.model = plain.model_wrapped = load_reward_model(tmp_path / "published")
    ours, _ = plain.predict_scores(whole.eval_dataset)
    assert np.abs((ours - scores) * present).max() < 1e-5


def test_a_model_without_an_adapter_is_left_as_it_is(student):
    assert add_adapter(student, lora_config(None), 0) is student
    assert merged(student) is student


def test_the_section_is_lora_by_its_own_names():
    config = lora_config(AdapterConfig(r=3, lora_alpha=5, use_rslora=True))
    assert (config.r, config.lora_alpha, config.use_rslora, config.target_modules) == (3, 5, True, "all-linear")
    assert lora_config(AdapterConfig(r=3, target_modules=["q_proj", "v_proj"])).target_modules == {"q_proj", "v_proj"}


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"r": 0}, "peft.r is 0: it must be positive"),
        ({"r": 4, "lora_dropout": 1.0}, "peft.lora_dropout is 1.0"),
        ({"r": 4, "target_modules": []}, "peft.target_modules names no module"),
    ],
)
def test_settings_that_make_no_sense(settings, said):
    with pytest.raises(HFDistillError, match=said):
        AdapterConfig(**settings)


def test_a_section_without_its_rank_says_so(tmp_path):
    file = tmp_path / "run.yaml"
    file.write_text("run: {name: x}\ntask: {name: gsm8k}\nstudent: {model: x/y}\npeft: {lora_alpha: 8}\n")
    with pytest.raises(HFDistillError, match="section 'peft' has no key 'r': add `peft: {r: …}`"):
        load_config("warmup", WarmupConfig, ["--config", str(file)])
    assert load_config("warmup", WarmupConfig, ["--config", str(file), "--peft.r", "4"]).peft.lora_alpha == 8


def test_an_adapter_that_does_not_fit(student):
    with pytest.raises(HFDistillError, match="does not fit into LlamaForCausalLM: Target modules"):
        add_adapter(student, LoraConfig(target_modules=["nothing"]), 0)
