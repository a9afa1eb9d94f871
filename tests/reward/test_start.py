"""A reward model starts from knowing nothing, on every family, however large its states are."""

import math

import pytest
import torch

from hfdistill.encoding import Encoder
from hfdistill.reward.model import RewardScorer, initialise_reward_model
from hfdistill.reward.trainer import TripletTrainer

from ..families import FAMILIES
from .conftest import EOS, PAD, VOCABULARY, draw_triples


@pytest.fixture(params=FAMILIES)
def student(request, tmp_path) -> str:
    """A student whose states are ten times as large as a head of unit variance expects."""
    model = FAMILIES[request.param](VOCABULARY, pad_token_id=PAD, eos_token_id=EOS)
    model.model.norm.weight.data += 10
    model.save_pretrained(tmp_path / "student")
    return str(tmp_path / "student")


def test_first_scores_are_zero_and_the_backbone_learns_from_the_second_step(student, tokenizer, make_args):
    model = initialise_reward_model(student, PAD)
    before = {name: weight.clone() for name, weight in model.base_model.state_dict().items()}
    triples = draw_triples(8)
    scorer = RewardScorer(model, Encoder(tokenizer))
    responses = [triple.prompt + ids for triple in triples for ids in triple.responses if ids is not None]
    assert scorer.score_ids(responses).abs().max() == 0
    args = make_args(max_steps=3, logging_steps=1, learning_rate=1e-3, eval_strategy="no", save_strategy="no")
    trainer = TripletTrainer(model, args, triples, [], tokenizer)
    trainer.train()
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    assert losses[0] == pytest.approx((2 + args.classification_weight) * math.log(2), rel=1e-6)
    scores = scorer.score_ids(responses)
    assert scores.std() > 0 and scores.abs().max() < 3
    assert any(not torch.equal(weight, before[name]) for name, weight in model.base_model.state_dict().items())
