"""Tags that a card and the files beside it stand for."""

import pytest

from hfdistill.servers.hub.cards import tags_of


@pytest.mark.parametrize(
    ("card", "paths", "relation"),
    [
        ({}, ["model.safetensors"], "finetune"),
        ({}, [], "finetune"),
        ({"library_name": "peft"}, ["adapter_model.safetensors"], "adapter"),
        ({}, ["adapter_config.json"], "adapter"),
        ({"tags": ["lora"]}, [], "adapter"),
        ({}, ["q4/model.gguf"], "quantized"),
        ({"tags": ["awq"]}, ["model.safetensors"], "quantized"),
        ({"tags": ["lora"]}, ["model.gguf"], "adapter"),
        ({"base_model": ["org/a", "org/b"]}, ["model.safetensors"], "merge"),
        ({"base_model_relation": "quantized"}, ["adapter_config.json"], "quantized"),
        ({"base_model_relation": ["no text"]}, [], "finetune"),
    ],
)
def test_how_a_model_came_from_its_base(card: dict, paths: list[str], relation: str) -> None:
    card = {"base_model": "org/a", **card}
    bases = card["base_model"] if isinstance(card["base_model"], list) else [card["base_model"]]
    found = [tag for tag in tags_of("model", card, paths, {}) if tag.startswith("base_model:")]
    assert found == [tag for base in bases for tag in (f"base_model:{base}", f"base_model:{relation}:{base}")]


def test_no_base_no_relation() -> None:
    assert not [
        tag for tag in tags_of("model", {"base_model_relation": "merge"}, [], {}) if tag.startswith("base_model")
    ]


@pytest.mark.parametrize(
    ("quantization", "tags"),
    [
        ({"quant_method": "gptq", "bits": 4}, ["gptq", "4-bit"]),
        ({"quant_method": "bitsandbytes", "load_in_8bit": True, "load_in_4bit": False}, ["bitsandbytes", "8-bit"]),
        ({"quant_method": "fp8"}, ["fp8"]),
        ({"quant_method": ["no text"], "bits": "4"}, []),
    ],
)
def test_weights_that_were_made_smaller(quantization: dict, tags: list[str]) -> None:
    config = {"model_type": "llama", "quantization_config": quantization}
    found = tags_of("model", {"base_model": "org/a"}, ["model.safetensors"], config)
    assert found == ["llama", *tags, "base_model:org/a", "base_model:quantized:org/a", "safetensors"]
