"""A model that is an adapter of another one is opened as the plain model that the two make."""

import json

import pytest
import torch
from huggingface_hub import constants
from peft import LoraConfig, PromptTuningConfig, get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaForCausalLM

from hfdistill.artifacts.references import open_artifact
from hfdistill.errors import HFDistillError
from hfdistill.student import load_encoder

from ..reward.conftest import student_folder, tokenizer  # noqa: F401


@pytest.fixture
def adapter(student_folder, tmp_path, monkeypatch):  # noqa: F811
    """Where an adapter of a tiny student lies, and the student with it on."""
    monkeypatch.setattr(constants, "HF_HOME", str(tmp_path / "cache"))
    torch.manual_seed(0)
    base = AutoModelForCausalLM.from_pretrained(student_folder)
    config = LoraConfig(r=4, target_modules="all-linear", task_type="CAUSAL_LM", init_lora_weights=False)
    model = get_peft_model(base, config)
    model.save_pretrained(tmp_path / "adapter")
    return tmp_path / "adapter", model


def test_an_adapter_is_opened_merged_into_its_base(adapter, student_folder):  # noqa: F811
    folder, model = adapter
    opened = open_artifact(str(folder), "model")
    assert opened.repo_id == str(folder) and opened.path != folder
    ids = torch.tensor([[4, 9, 7, 12]])
    with torch.no_grad():
        plain = LlamaForCausalLM.from_pretrained(opened.path)(ids).logits
        torch.testing.assert_close(plain, model(ids).logits, atol=1e-5, rtol=0)
    # Without a tokenizer of its own it has the base's.
    assert load_encoder(opened.path).eos_token_id == load_encoder(student_folder).eos_token_id
    assert set(opened.data) == {"adapter_config.json", "adapter_model.safetensors"}
    written = (opened.path / "model.safetensors").stat().st_mtime_ns
    again = open_artifact(str(folder), "model")
    assert (again.path, again.digest) == (opened.path, opened.digest)
    assert (opened.path / "model.safetensors").stat().st_mtime_ns == written, "made once"
    assert [path.name for path in opened.path.parent.iterdir()] == [opened.path.name]


def test_its_own_tokenizer_goes_before_the_bases(adapter, student_folder):  # noqa: F811
    folder, _ = adapter
    own = AutoTokenizer.from_pretrained(student_folder)
    own.chat_template = "{{ messages[0].content }}"
    own.save_pretrained(folder)
    assert AutoTokenizer.from_pretrained(open_artifact(str(folder), "model").path).chat_template == own.chat_template


def test_an_adapter_of_another_base_is_one_sentence(adapter, student_folder, tmp_path):  # noqa: F811
    folder, _ = adapter
    config = AutoModelForCausalLM.from_pretrained(student_folder).config
    config.hidden_size = config.intermediate_size = 48
    LlamaForCausalLM(config).save_pretrained(tmp_path / "other")
    said = json.loads((folder / "adapter_config.json").read_text())
    for base in (tmp_path / "other", tmp_path / "gone"):
        (folder / "adapter_config.json").write_text(json.dumps({**said, "base_model_name_or_path": str(base)}))
        with pytest.raises(HFDistillError, match=f"is an adapter of '{base}', into which it cannot be merged: "):
            open_artifact(str(folder), "model")


def test_virtual_tokens_are_one_sentence(adapter, student_folder, tmp_path):  # noqa: F811
    base = AutoModelForCausalLM.from_pretrained(student_folder)
    config = PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=2)
    get_peft_model(base, config).save_pretrained(tmp_path / "prompts")
    with pytest.raises(HFDistillError, match="of type PROMPT_TUNING, which generation does not know"):
        open_artifact(str(tmp_path / "prompts"), "model")
