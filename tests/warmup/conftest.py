import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from hfdistill.encoding import Encoder
from hfdistill.warmup.config import WarmupConfig

from ..reward.conftest import make_tokenizer


@pytest.fixture(scope="session")
def encoder() -> Encoder:
    """The words of the reward model's tests, and the one that announces an answer."""
    tokenizer = make_tokenizer()
    tokenizer.add_tokens(["answer"])
    return Encoder(tokenizer)


@pytest.fixture
def student(encoder) -> LlamaForCausalLM:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(encoder.tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=1,
        num_attention_heads=4,
        max_position_embeddings=64,
        pad_token_id=encoder.pad_token_id,
        eos_token_id=encoder.eos_token_id,
        bos_token_id=None,
    )
    return LlamaForCausalLM(config)


@pytest.fixture
def make_args(tmp_path):
    def build(**settings) -> WarmupConfig:
        defaults = {
            "output_dir": str(tmp_path / "out"),
            "use_cpu": True,
            "bf16": False,
            "disable_tqdm": True,
            "learning_rate": 1e-2,
            "num_train_epochs": 2,
            "per_device_train_batch_size": 8,
        }
        return WarmupConfig(**{**defaults, **settings})

    return build
