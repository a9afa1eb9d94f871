import random

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedModel, PreTrainedTokenizerFast

from hfdistill.encoding import Encoder
from hfdistill.reward.batches import EncodedTriple
from hfdistill.reward.config import RewardConfig
from hfdistill.reward.model import initialise_reward_model


PAD, EOS = 0, 1
VOCABULARY = 40


def make_tokenizer(pad_token: str = "<pad>") -> PreTrainedTokenizerFast:
    words = ["<pad>", "</s>", "<unk>", *(f"w{i}" for i in range(VOCABULARY - 3))]
    core = Tokenizer(models.WordLevel({word: index for index, word in enumerate(words)}, unk_token="<unk>"))
    core.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=core, pad_token=pad_token, eos_token="</s>", unk_token="<unk>")


@pytest.fixture(scope="session")
def tokenizer() -> PreTrainedTokenizerFast:
    return make_tokenizer()


@pytest.fixture(scope="session")
def encoder(tokenizer) -> Encoder:
    return Encoder(tokenizer)


@pytest.fixture(scope="session")
def student_folder(tokenizer, tmp_path_factory) -> str:
    """An untrained causal language model with its tokenizer."""
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=128,
        pad_token_id=PAD,
        eos_token_id=EOS,
        bos_token_id=None,
        tie_word_embeddings=True,
    )
    folder = tmp_path_factory.mktemp("student")
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


def drawn_reward_model(folder: str, seed: int = 0, **kwargs) -> PreTrainedModel:
    """An untrained reward model whose scores differ."""
    model = initialise_reward_model(folder, PAD, **kwargs)
    generator = torch.Generator().manual_seed(seed)
    torch.nn.init.normal_(model.score.weight, std=(model.score.in_features + 1) ** -0.5, generator=generator)
    return model


def draw_triples(n: int, seed: int = 0, teacher: bool = True) -> list[EncodedTriple]:
    """Triples that can be told apart: right answers hold token 10, the teacher's also 11, wrong ones 12."""
    rng = random.Random(seed)

    def ids(low: int, high: int, *marks: int) -> list[int]:
        row = [rng.randrange(20, VOCABULARY) for _ in range(rng.randint(low, high))]
        for mark in marks:
            row.insert(rng.randrange(len(row) + 1), mark)
        return row

    triples = []
    for _ in range(n):
        right, wrong, taught = ids(3, 12, 10), ids(3, 12, 12), ids(3, 12, 10, 11)
        responses = ([*right, EOS], [*wrong, EOS], [*taught, EOS] if teacher else None, None)
        triples.append(EncodedTriple(ids(2, 9), responses))
    return triples


MIXED = [
    *draw_triples(5),
    EncodedTriple([20, 21], ([22, EOS], None, [EOS], None)),
    EncodedTriple([20, 21, 22], (None, [], None, [23, 24])),
]


@pytest.fixture
def make_args(tmp_path):
    def build(**settings) -> RewardConfig:
        defaults = {
            "output_dir": str(tmp_path / "out"),
            "use_cpu": True,
            "bf16": False,
            "disable_tqdm": True,
            "learning_rate": 3e-3,
            "num_train_epochs": 2,
            "per_device_train_batch_size": 8,
        }
        return RewardConfig(**{**defaults, **settings})

    return build
