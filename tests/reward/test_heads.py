"""An ensemble is published as one head, which every reader knows, and its heads beside it."""

from types import SimpleNamespace

import pytest
import torch
from transformers import AutoModelForSequenceClassification

from hfdistill.encoding import Encoder
from hfdistill.errors import HFDistillError
from hfdistill.reward.batches import EncodedTriple, TripleCollator, learns
from hfdistill.reward.heads import HEADS, publish_heads
from hfdistill.reward.model import RewardScorer, initialise_reward_model, load_reward_model
from hfdistill.reward.rewards import load_rewards
from hfdistill.reward.trainer import TripletTrainer
from hfdistill.tasks import load_task

from .conftest import EOS, PAD, draw_triples


SEQUENCES = [[20, 21, EOS], [22] * 17, [23, 24, 25, EOS]]


def asked(n: int, seed: int) -> list[EncodedTriple]:
    drawn = draw_triples(n, seed)
    return [EncodedTriple(row.prompt, row.responses, f"q{index}") for index, row in enumerate(drawn)]


def trained_heads(folder: str, tokenizer, make_args, **settings):
    args = make_args(ensemble=3, eval_strategy="no", save_strategy="no", num_train_epochs=3, **settings)
    model = initialise_reward_model(folder, PAD, args.ensemble)
    trainer = TripletTrainer(model, args, asked(48, 1), asked(8, 2), tokenizer)
    trainer.train()
    return trainer


@pytest.mark.parametrize("sharded", [False, True])
def test_readers_meet_one_head_and_pessimism_meets_all(student_folder, tokenizer, make_args, tmp_path, sharded):
    trainer = trained_heads(student_folder, tokenizer, make_args)
    said, present = trainer.predict_heads(trainer.eval_dataset)
    assert said.shape == (8, 4, 3)
    spread = said.std(-1)[present.astype(bool)]
    assert spread.min() > 1e-4, "equal at first, they learn from questions of their own"

    trainer.model.save_pretrained(tmp_path, max_shard_size="20KB" if sharded else "1GB")
    assert (tmp_path / "model.safetensors.index.json").exists() == sharded
    publish_heads(tmp_path, temperature=2.0)
    plain = AutoModelForSequenceClassification.from_pretrained(tmp_path)
    assert plain.config.num_labels == 1 and plain.score.weight.shape[0] == 1
    scorer = RewardScorer(load_reward_model(str(tmp_path)), Encoder(tokenizer))
    scores = scorer.score_ids(SEQUENCES)
    with torch.no_grad():
        alone = [plain(torch.tensor([ids])).logits[0, 0].item() for ids in SEQUENCES]
    assert scores.tolist() == pytest.approx(alone, abs=1e-6)

    triple = trainer.eval_dataset[0]
    right = [triple.prompt + triple.responses[0]]
    mean, std = said[0, 0].mean() / 2, said[0, 0].std() / 2
    assert scorer.score_ids(right).item() == pytest.approx(mean, abs=1e-5)
    assert scorer.score_ids(right, pessimism=1.5).item() == pytest.approx(mean - 1.5 * std, abs=1e-5)
    last = [[len(ids) - 1 for ids in right]]
    assert scorer.score_at(right, last, 1.5)[0] == pytest.approx([mean - 1.5 * std], abs=1e-5)


def test_a_single_head_that_needs_no_temperature_is_left_as_it_is(student_folder, tmp_path):
    initialise_reward_model(student_folder, PAD).save_pretrained(tmp_path)
    before = (tmp_path / "model.safetensors").read_bytes()
    publish_heads(tmp_path)
    assert (tmp_path / "model.safetensors").read_bytes() == before and not (tmp_path / HEADS).exists()


def test_a_head_learns_from_its_own_questions_and_no_others(student_folder, tokenizer, make_args):
    drawn = [[learns(head, f"q{index}", 0) for index in range(4000)] for head in range(2)]
    assert [sum(head) / 4000 for head in drawn] == pytest.approx([0.632, 0.632], abs=0.03)
    both = sum(one and other for one, other in zip(*drawn, strict=True)) / 4000
    assert both == pytest.approx(0.632**2, abs=0.03)
    assert drawn[0] != [learns(0, f"q{index}", 1) for index in range(4000)], "the seed decides"

    left_out = [row for row in asked(40, 3) if not learns(1, row.question_id, 42)][:4]
    args = make_args(ensemble=3, every_token=0.5, eval_strategy="no", save_strategy="no", seed=42)
    for share_prefix in (True, False):
        model = initialise_reward_model(student_folder, PAD, args.ensemble)
        trainer = TripletTrainer(model, args, left_out, [], tokenizer)
        batch = TripleCollator(PAD, share_prefix, every_token=True, heads=3, seed=42)(left_out)
        counts = trainer._get_num_items_in_batch([batch], torch.device("cpu"))
        trainer.compute_loss(model, batch, num_items_in_batch=counts).backward()
        moved = model.score.weight.grad.abs().sum(1) > 0
        assert moved.tolist() == [
            any(learns(head, row.question_id, 42) for row in left_out) if head != 1 else False for head in range(3)
        ]


def test_pessimism_needs_an_ensemble(student_folder, tokenizer):
    task = load_task({"name": "word_problems", "train": 2, "validation": 1, "test": 1})
    scorer = RewardScorer(initialise_reward_model(student_folder, PAD), Encoder(tokenizer))
    for entry in ("pessimistic", {"name": "stratified", "pessimism": 1}):
        with pytest.raises(HFDistillError, match=r"has a single head: train it with reward.ensemble: 5"):
            load_rewards([entry], task, lambda: scorer)
    several = SimpleNamespace(model=SimpleNamespace(ensemble=torch.zeros(2, 4)))
    assert load_rewards(["pessimistic"], task, lambda: several)[0].pessimism == 1
    assert load_rewards(["stratified"], task, lambda: scorer)[0].pessimism == 0
