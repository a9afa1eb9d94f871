"""datasets, transformers and trl, as their users call them. Imports nothing of hfdistill."""

import os
from pathlib import Path

import datasets
import torch
from datasets import Dataset, DatasetDict, load_dataset
from huggingface_hub import HfApi
from report import attempt
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    LlamaConfig,
    LlamaForCausalLM,
    LlamaForSequenceClassification,
    PreTrainedTokenizerFast,
    pipeline,
)
from trl import SFTConfig, SFTTrainer


data = f"libraries/data-{os.getpid()}"
model_id = f"libraries/model-{os.getpid()}"
reward_id = f"libraries/reward-{os.getpid()}"
words = ["<pad>", "<eos>", "<unk>", "one", "two", "three", "plus", "is"]
config = LlamaConfig(
    vocab_size=len(words), hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2,
    num_key_value_heads=2, pad_token_id=0, bos_token_id=1, eos_token_id=1,
)  # fmt: skip
torch.manual_seed(0)
model = LlamaForCausalLM(config)


def make_tokenizer() -> PreTrainedTokenizerFast:
    raw = Tokenizer(models.WordLevel({word: index for index, word in enumerate(words)}, unk_token="<unk>"))
    raw.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(tokenizer_object=raw, pad_token="<pad>", eos_token="<eos>", unk_token="<unk>")


def datasets_calls() -> None:
    rows = Dataset.from_dict({"question": ["one plus one"] * 200, "label": list(range(200))})
    splits = DatasetDict(train=rows, test=rows.select(range(5)))
    attempt("DatasetDict.push_to_hub (config)", lambda: splits.push_to_hub(data, "responses"))
    attempt("Dataset.push_to_hub (another config)", lambda: rows.select(range(3)).push_to_hub(data, "gold"))
    attempt("Dataset.push_to_hub (private)", lambda: rows.push_to_hub(f"{data}-private", private=True))
    attempt("get_dataset_config_names", lambda: datasets.get_dataset_config_names(data) == ["gold", "responses"])
    attempt("load_dataset (config)", lambda: load_dataset(data, "responses")["test"].num_rows == 5)
    attempt("load_dataset (config, split)", lambda: load_dataset(data, "gold", split="train")[2]["label"] == 2)
    attempt("load_dataset (slice)", lambda: len(load_dataset(data, "responses", split="train[:10%]")) == 20)
    attempt("load_dataset (streaming)", lambda: next(iter(load_dataset(data, "gold", split="train", streaming=True))))
    attempt("load_dataset (private)", lambda: load_dataset(f"{data}-private", split="train").num_rows == 200)
    attempt("load_dataset (parquet by hf://)", by_address)
    attempt("load_dataset (revision)", lambda: load_dataset(data, "gold", revision=HfApi().dataset_info(data).sha))
    attempt("load_dataset_builder", lambda: datasets.load_dataset_builder(data, "responses").info.features)


def by_address() -> bool:
    return load_dataset("parquet", data_files=f"hf://datasets/{data}/gold/*.parquet", split="train").num_rows == 3


def transformers_calls() -> None:
    tokenizer = make_tokenizer()
    attempt("PreTrainedModel.push_to_hub", lambda: model.push_to_hub(model_id, commit_message="model"))
    attempt("PreTrainedTokenizer.push_to_hub", lambda: tokenizer.push_to_hub(model_id))
    attempt("AutoConfig.from_pretrained", lambda: AutoConfig.from_pretrained(model_id).hidden_size == 32)
    attempt("AutoTokenizer.from_pretrained", lambda: AutoTokenizer.from_pretrained(model_id)("one two").input_ids)
    attempt("AutoModelForCausalLM.from_pretrained", same_weights)
    attempt(
        "from_pretrained (revision)",
        lambda: AutoModelForCausalLM.from_pretrained(model_id, revision=HfApi().model_info(model_id).sha),
    )
    attempt("pipeline", lambda: pipeline("text-generation", model=model_id)("one plus", max_new_tokens=2))
    attempt("push_to_hub (several shards)", lambda: model.push_to_hub(f"{model_id}-shards", max_shard_size="20KB"))
    attempt("from_pretrained (several shards)", lambda: AutoModelForCausalLM.from_pretrained(f"{model_id}-shards"))
    attempt("push_to_hub (create_pr)", lambda: model.push_to_hub(f"{model_id}-shards", create_pr=True))
    scorer = LlamaForSequenceClassification(LlamaConfig(**{**config.to_dict(), "num_labels": 1}))
    attempt("push_to_hub (reward model)", lambda: scorer.push_to_hub(reward_id))
    attempt(
        "AutoModelForSequenceClassification", lambda: AutoModelForSequenceClassification.from_pretrained(reward_id)
    )


def same_weights() -> bool:
    loaded = AutoModelForCausalLM.from_pretrained(model_id)
    return torch.equal(loaded.lm_head.weight, model.lm_head.weight)


def trl_calls() -> None:
    arguments = SFTConfig(
        output_dir=str(Path.cwd() / "sft"), max_steps=2, per_device_train_batch_size=2, report_to=[], use_cpu=True,
        push_to_hub=True, hub_model_id=f"{model_id}-sft", hub_private_repo=True, save_steps=1, bf16=False,
        hub_strategy="end",
    )  # fmt: skip
    rows = Dataset.from_dict({"text": ["one plus two is three"] * 8})

    def train() -> object:
        trainer = SFTTrainer(model, args=arguments, train_dataset=rows, processing_class=make_tokenizer())
        trainer.train()
        return trainer.push_to_hub(dataset_name=data)

    attempt("SFTTrainer.train, push_to_hub", train)
    attempt("from_pretrained (SFT)", lambda: AutoModelForCausalLM.from_pretrained(f"{model_id}-sft"))
    attempt("model_info (SFT, tags)", lambda: "sft" in HfApi().model_info(f"{model_id}-sft").tags)


datasets_calls()
transformers_calls()
trl_calls()
