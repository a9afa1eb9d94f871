"""How students come: which token pads, what ends a response, and who is asked in conversations."""

import json

import pytest

from hfdistill.chat import Chat
from hfdistill.errors import HFDistillError
from hfdistill.sections import StudentConfig
from hfdistill.student import asked_as, is_instruct, load_encoder, settle_generation, spare_token

from .tokenizers_of_families import LAYOUTS, end_token_ids, make_tokenizer, save_student


PADS = {
    "llama3-base": "<|finetune_right_pad_id|>",
    "llama3-instruct": "<|finetune_right_pad_id|>",
    "qwen2.5-base": "<|vision_pad|>",
    "qwen2.5-instruct": "<|vision_pad|>",
    "qwen3": "<|vision_pad|>",
    "gemma2": "<pad>",
    "gemma3": "<pad>",
    "phi4-mini": "<|dummy_0|>",
    "mistral-instruct": "<unk>",
    "smollm2-instruct": "<|endoftext|>",
}


@pytest.fixture
def folder(request, tmp_path):
    make_tokenizer(request.param).save_pretrained(tmp_path)
    config = {"eos_token_id": end_token_ids(request.param), "do_sample": True, "temperature": 0.6}
    (tmp_path / "generation_config.json").write_text(json.dumps(config), encoding="utf-8")
    return tmp_path


def ask(folder, **section):
    return load_encoder(folder, StudentConfig(str(folder), **section))


@pytest.mark.parametrize("name", LAYOUTS)
def test_instruct_models_are_told_from_base_ones_with_a_template(name):
    assert is_instruct(make_tokenizer(name), end_token_ids(name), Chat()) == (not name.endswith("base"))


@pytest.mark.parametrize(("folder", "name"), [(name, name) for name in LAYOUTS], indirect=["folder"])
def test_each_family_pads_with_a_token_that_ends_nothing(folder, name):
    encoder = ask(folder)
    assert encoder.tokenizer.pad_token == PADS[name]
    assert encoder.pad_token_id not in encoder.end_token_ids
    assert set(encoder.end_token_ids) == {*end_token_ids(name), encoder.tokenizer.eos_token_id}
    assert (encoder.chat is None) == name.endswith("base")
    assert (encoder.tokenizer.chat_template is None) == name.endswith("base")
    # Saved and opened again, it is what it was.
    encoder.tokenizer.save_pretrained(folder)
    assert load_encoder(folder).tokenizer.pad_token == PADS[name]


@pytest.mark.parametrize("folder", ["smollm2-instruct"], indirect=True)
def test_the_named_pad_token_wins(folder):
    assert ask(folder, pad_token="<file_sep>").tokenizer.pad_token == "<file_sep>"
    with pytest.raises(HFDistillError, match="'<nothing>' is not in the vocabulary"):
        ask(folder, pad_token="<nothing>")
    with pytest.raises(HFDistillError, match="'<|im_end|>' both to pad and to end a response"):
        ask(folder, pad_token="<|im_end|>")


@pytest.mark.parametrize("folder", ["qwen2.5-base"], indirect=True)
def test_a_base_model_can_be_asked_in_a_conversation_and_then_ends_its_turns(folder):
    token = make_tokenizer("qwen2.5-base").convert_tokens_to_ids
    assert ask(folder).eos_token_id == token("<|endoftext|>")
    asked = ask(folder, chat=True)
    assert asked.eos_token_id == token("<|im_end|>")
    assert asked.end_token_ids == [token("<|im_end|>"), token("<|endoftext|>")]


@pytest.mark.parametrize("folder", ["llama3-base"], indirect=True)
def test_a_conversation_needs_a_template(folder):
    with pytest.raises(HFDistillError, match="has no chat template.*student.chat: false"):
        ask(folder, chat=True)


@pytest.mark.parametrize("section", [{"chat": False, "prefill": "Well,"}, {"chat_template_kwargs": "[1]"}])
def test_settings_of_conversations_are_checked(section):
    with pytest.raises(HFDistillError, match="student\\."):
        StudentConfig("s", **section)


def test_a_published_model_generates_as_it_was_trained_and_by_nothing_it_brought_along(tmp_path):
    from transformers import AutoModelForCausalLM, GenerationConfig

    save_student("qwen2.5-instruct", tmp_path)
    encoder, model = load_encoder(tmp_path), AutoModelForCausalLM.from_pretrained(tmp_path)
    settle_generation(model, encoder, 12)
    model.save_pretrained(tmp_path)
    saved = GenerationConfig.from_pretrained(tmp_path)
    assert saved.eos_token_id == encoder.end_token_ids and saved.pad_token_id == encoder.pad_token_id
    assert (saved.do_sample, saved.use_cache, saved.max_new_tokens) == (False, True, 12)
    assert (saved.temperature, saved.top_p, saved.repetition_penalty) == (None, None, None)


@pytest.mark.parametrize("folder", ["qwen2.5-base"], indirect=True)
def test_a_base_model_has_no_use_for_a_system_prompt(folder):
    with pytest.raises(HFDistillError, match="is a base model.*student.chat: true"):
        ask(folder, system_prompt="Be brief.")


def test_pieces_of_text_are_not_to_spare():
    """Phi 2 has tokens of blanks beside its special ones."""
    tokenizer = make_tokenizer("smollm2-instruct")
    tokenizer.add_tokens(["        ", "<pad>"])
    tokenizer.chat_template = "".join(LAYOUTS["smollm2-instruct"].special)
    assert spare_token(tokenizer, []) == "<pad>"
    tokenizer.chat_template += "<pad>"
    with pytest.raises(HFDistillError, match="no token to spare"):
        spare_token(tokenizer, [])


def test_models_of_a_table_are_asked_as_they_were_made():
    student = StudentConfig("my/base", pad_token="<p>", system_prompt="Be brief.", dtype="bfloat16")
    assert asked_as({}, "my/base", student) == student
    assert asked_as({}, "another/model", student) == StudentConfig("my/base", dtype="bfloat16")
    made = asked_as({"student": {"model": "x", "chat": False, "pad_token": "<q>"}}, "my/run-policy", student)
    assert (made.chat, made.pad_token, made.system_prompt) == (False, "<q>", None)
