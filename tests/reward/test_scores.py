"""Neither shared prefixes nor batches nor the pass written out for Llama change scores or gradients."""

import pytest
import torch
from transformers import AutoModelForSequenceClassification, GPT2Config, GPT2LMHeadModel

from hfdistill.encoding import Encoder
from hfdistill.reward.batches import EncodedTriple
from hfdistill.reward.losses import reward_loss
from hfdistill.reward.model import RewardScorer
from hfdistill.reward.trainer import TripletTrainer

from ..families import FAMILIES
from .conftest import EOS, MIXED, PAD, VOCABULARY, drawn_reward_model


@pytest.fixture(params=["llama", "gpt2"])
def causal_model(request, student_folder, tmp_path) -> str:
    """Of the family whose pass is written out, and of another."""
    if request.param == "llama":
        return student_folder
    torch.manual_seed(0)
    config = GPT2Config(
        vocab_size=VOCABULARY, n_embd=16, n_layer=2, n_head=2, n_positions=64, bos_token_id=EOS, eos_token_id=EOS
    )
    GPT2LMHeadModel(config).save_pretrained(tmp_path)
    return str(tmp_path)


def gradients(model) -> dict[str, torch.Tensor]:
    return {name: parameter.grad for name, parameter in model.named_parameters() if parameter.grad is not None}


def responses() -> list[tuple[list[int], list[int]]]:
    return [(triple.prompt, ids) for triple in MIXED for ids in triple.responses if ids is not None]


@torch.no_grad()
def every_token_of(plain) -> torch.Tensor:
    """Scores at all tokens of the responses, one after the other."""
    read = []
    for prompt, ids in responses():
        states = plain.base_model(torch.tensor([prompt + ids])).last_hidden_state[0, len(prompt) :]
        read.append(plain.score(states)[:, 0])
    return torch.cat(read)


@pytest.mark.parametrize("share_prefix", [True, False])
@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("checkpointing", [False, True])
def test_scores_and_gradients_are_those_of_plain_forwards(
    causal_model, tokenizer, make_args, tmp_path, share_prefix, attention, checkpointing
):
    """Against one forward a response of the model as transformers loads it, in float64.

    Llama's norms and the eager softmax compute in fp32 whatever the model's type, hence the tolerance.
    """
    model = drawn_reward_model(causal_model, dtype=torch.float64, attn_implementation=attention)
    # The head is fp32 whatever the backbone is, which its own test sees to.
    head = torch.nn.Linear(model.score.in_features, 1, bias=False, dtype=torch.float64)
    head.load_state_dict(model.score.state_dict())
    model.score = head
    if checkpointing:
        model.activation_checkpointing_enable()
    model.save_pretrained(tmp_path / "plain")
    plain = AutoModelForSequenceClassification.from_pretrained(tmp_path / "plain", attn_implementation=attention)
    scores = torch.zeros(len(MIXED), 4, dtype=torch.float64)
    for row, triple in enumerate(MIXED):
        for role, ids in enumerate(triple.responses):
            if ids is not None:
                scores[row, role] = plain(torch.tensor([triple.prompt + ids])).logits[0, 0]

    args = make_args(share_prefix=share_prefix, eval_strategy="no", every_token=0.5)
    trainer = TripletTrainer(model, args, MIXED, [], tokenizer)
    batch = trainer.data_collator(MIXED)
    present = batch["present"].double()
    ours = trainer._scores(model.train(), {**batch, "present": present})[:, :, 0]
    _, at_tokens = trainer._read(model, {**batch, "present": present}, every_token=True)
    real = batch["token_shares"] > 0
    assert torch.allclose(at_tokens[0][real], every_token_of(plain), rtol=1e-6, atol=1e-7)
    assert batch["token_shares"].sum().item() == pytest.approx(sum(len(ids) > 0 for _, ids in responses()))
    reward_loss(scores, present, 0.5).backward()
    assert torch.allclose(ours * present, scores, rtol=1e-6, atol=1e-7)
    reward_loss(ours, present, 0.5).backward()
    expected = gradients(plain)
    assert gradients(model).keys() == expected.keys()
    for name, gradient in gradients(model).items():
        assert torch.allclose(gradient, expected[name], rtol=1e-5, atol=1e-6), name


@pytest.mark.parametrize("family", ["gemma2", "gemma3", "phi3", "mistral"])
@pytest.mark.parametrize("length", [3, 9])
def test_a_sliding_window_is_kept(family, length, tokenizer, make_args, tmp_path):
    """Prompts are shared where no sequence is longer than the window, and scores are those of single responses."""
    FAMILIES[family](VOCABULARY, pad_token_id=PAD, eos_token_id=EOS).save_pretrained(tmp_path / "student")
    model = drawn_reward_model(str(tmp_path / "student"))
    triples = [EncodedTriple([20, 21, 22, 23, 24][:length], ([25] * length, [26], [27, EOS], None))]
    trainer = TripletTrainer(model, make_args(eval_strategy="no"), triples, [], tokenizer)
    assert trainer.data_collator.share_prefix == (length == 3)
    scores, _ = trainer.predict_scores(triples)
    alone = RewardScorer(model, Encoder(tokenizer)).score_ids(
        [triples[0].prompt + ids for ids in triples[0].responses[:3]]
    )
    assert scores[0, :3].tolist() == pytest.approx(alone.tolist(), abs=1e-5)
