"""The example of docs/ppo.md runs as it stands, on a model that is at hand."""

import re
from pathlib import Path

import pytest
from ppo_toy import make_policy
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast


PAGE = (Path(__file__).parents[2] / "docs" / "ppo.md").read_text()
(CODE,) = re.findall(r"^```python\n(.*?)^```", PAGE, re.M | re.S)


@pytest.fixture
def model(tmp_path):
    """A model of characters that answers messages; with so few, it soon draws the one that ends."""
    vocabulary = {letter: i for i, letter in enumerate(["<pad>", "<eos>", "<unk>", *"12345 "])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    tokenizer.decoder = decoders.Fuse()
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>", eos_token="<eos>", unk_token="<unk>")
    fast.chat_template = "{{ messages[0]['content'] }} "
    fast.save_pretrained(tmp_path / "model")
    policy = make_policy(vocab_size=len(vocabulary), max_position_embeddings=128, num_hidden_layers=1)
    policy.save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def test_it_runs(model, tmp_path, monkeypatch):
    assert len(CODE.splitlines()) <= 40
    monkeypatch.chdir(tmp_path)
    code, replaced = re.subn(r"^MODEL = .*$", f"MODEL = {str(model)!r}", CODE, flags=re.M)
    assert replaced == 1
    names = {"__name__": "__main__"}
    exec(compile(code, "docs/ppo.md", "exec"), names)
    trainer = names["trainer"]
    assert trainer.state.global_step == 32
    assert [entry["eval_accuracy"] for entry in trainer.state.log_history if "eval_accuracy" in entry]
    before, after = (AutoModelForCausalLM.from_pretrained(folder) for folder in (model, "sums/policy"))
    assert any(not a.equal(b) for a, b in zip(before.parameters(), after.parameters(), strict=True))
