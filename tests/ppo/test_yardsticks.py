"""Validation by figures that need no label."""

import pytest
import torch
from ppo_toy import PROMPTS, logged, make_trainer, make_value_model
from test_questions import letters

from hfdistill.encoding import Encoder
from hfdistill.errors import HFDistillError
from hfdistill.labels.references import read_golds, with_bought_golds
from hfdistill.ppo.ballots import Ballot, BallotReader
from hfdistill.ppo.stage import DistillPPOConfig
from hfdistill.ppo.yardsticks import Yardsticks
from hfdistill.reward.model import RewardScorer, prepare_reward_model
from hfdistill.tasks import load_task


BOTH = ("reward_score", "agreement")


class FirstLetters:
    """Reads the toy's completions: the answer is the first letter, and an `a` is believed."""

    same = staticmethod(str.__eq__)

    def __call__(self, completions, **columns):
        first = [next(iter(completion.split()), None) for completion in completions]
        return [Ballot(letter, float(letter == "a")) for letter in first]


def yardsticks(*names):
    return {"yardsticks": Yardsticks(names, FirstLetters(), 4)}


def test_figures_of_a_question():
    sticks = Yardsticks(BOTH, FirstLetters(), 4)
    ballots = [Ballot("5", 0.5), Ballot("7", 0.25), Ballot(None, 0.0), Ballot("7", 0.25)]
    assert sticks.figures(ballots) == {"reward_score": 0.25, "agreement": 0.5}
    assert sticks.figures([Ballot(None, 0.0)] * 4) == {"reward_score": 0.0, "agreement": 0.0}


def test_the_reader_weighs_answers_by_the_reward_model(tmp_path):
    task = load_task({"name": "word_problems", "train": 2, "validation": 1, "test": 1})
    encoder = Encoder(letters())
    sizes = {"vocab_size": len(encoder.tokenizer), "max_position_embeddings": 512}
    scorer = RewardScorer(prepare_reward_model(make_value_model(**sizes)), encoder)
    question = task.questions()[0]
    texts = ["The answer is 7.", "no idea", "The answer is 8."]
    ids = [encoder.response_ids(text) for text in texts]
    asked = {"prompts": [""] * 3, "completion_ids": ids, "pseudo_label": [None] * 3}
    read = BallotReader(task, scorer)(completions=texts, question_id=[question.question_id] * 3, **asked)
    assert [ballot.answer for ballot in read] == ["7", None, "8"]
    sure = torch.tensor(scorer([task.prompt(question)] * 3, texts)).sigmoid()
    assert [ballot.weight for ballot in read] == pytest.approx([sure[0].item(), 0.0, sure[2].item()], abs=1e-6)
    plain = BallotReader(task)(completions=texts, question_id=[question.question_id] * 3, **asked)
    assert plain == [("7", 1.0), (None, 0.0), ("8", 1.0)]


def test_they_are_logged_and_may_choose(tmp_path):
    options = {"trainer_kwargs": yardsticks(*BOTH), "evaluate": PROMPTS, "eval_strategy": "steps", "eval_steps": 2}
    options |= {"save_strategy": "steps", "save_steps": 2, "load_best_model_at_end": True, "eval_on_start": True}
    trainer = make_trainer(tmp_path, metric_for_best_model="agreement", **options)
    trainer.train()
    agreement = logged(trainer, "eval_agreement")
    assert trainer.state.best_metric == max(agreement) and len(set(agreement)) > 1
    assert len(logged(trainer, "eval_reward_score")) == len(logged(trainer, "eval_reward")) == len(agreement)
    with pytest.raises(HFDistillError, match="validation gives reward, mean_length, finished, reward_score: set it"):
        make_trainer(tmp_path, **options | {"trainer_kwargs": yardsticks("reward_score")})


def test_the_noise_is_the_same_at_each_validation_and_no_business_of_the_training(tmp_path):
    plain = make_trainer(tmp_path, evaluate=PROMPTS, eval_strategy="steps", eval_steps=1)
    plain.train()
    trainer = make_trainer(
        tmp_path, evaluate=PROMPTS, eval_strategy="steps", eval_steps=1, trainer_kwargs=yardsticks(*BOTH)
    )
    assert trainer.evaluate()["eval_agreement"] == trainer.evaluate()["eval_agreement"]
    trainer.train()
    assert logged(trainer, "loss") == logged(plain, "loss")


def test_questions_without_a_label_have_no_say_in_accuracy(tmp_path):
    def right(prompts, **columns):
        return [None if prompt[0] in "ab" else prompt[0] == "c" for prompt in prompts]

    trainer = make_trainer(tmp_path, evaluate=PROMPTS, trainer_kwargs={"eval_func": right})
    assert trainer.evaluate()["eval_accuracy"] == 0.5
    trainer = make_trainer(tmp_path, evaluate=PROMPTS[:8], trainer_kwargs={"eval_func": right})
    assert "eval_accuracy" not in trainer.evaluate()


def test_gold_answers_of_validation_are_bought_where_a_label_is_missing(tmp_path):
    asked = [
        {"question_id": f"{split}{i}", "split": split, "pseudo_label": label}
        for split in ("train", "validation")
        for i, label in enumerate(["1", None, None, None])
    ]
    golds = {row["question_id"]: "9" for row in asked if row["question_id"] != "validation3"}
    for number, bought in ((0, 0), (1, 1), (5, 2)):
        rows = with_bought_golds(asked, golds, number, seed=0)
        assert rows == with_bought_golds(asked[::-1], golds, number, seed=0)[::-1]
        assert [row for row in rows if row["split"] == "train"] == asked[:4] and rows[4] == asked[4]
        assert sum(row["pseudo_label"] == "9" for row in rows) == bought
    with pytest.raises(HFDistillError, match=r"ppo.validation_gold asks for gold answers, and .* have none"):
        read_golds(tmp_path, "ppo.validation_gold")


@pytest.mark.parametrize(
    "options,message",
    [
        ({"yardstick": "rewards"}, "did you mean 'reward'"),
        ({"yardstick": "reward", "metric_for_best_model": "accuracy"}, "would choose, too: leave one out"),
        ({"all_yardsticks": True, "eval_strategy": "no"}, "nothing is evaluated"),
        ({"validation_gold": 3, "validation_labels": "gold"}, "validation_gold is 3"),
        ({"yardstick_samples": 0}, "ppo.yardstick_samples is 0"),
    ],
    ids=str,
)
def test_settings_that_make_no_sense(tmp_path, options, message):
    with pytest.raises(HFDistillError, match=message):
        DistillPPOConfig(output_dir=str(tmp_path), use_cpu=True, **options)


def test_the_setting_names_the_figures(tmp_path):
    config = DistillPPOConfig(output_dir=str(tmp_path), use_cpu=True, yardstick="reward")
    assert (config.metric_for_best_model, config.yardsticks) == ("reward_score", ["reward_score"])
    config = DistillPPOConfig(output_dir=str(tmp_path), use_cpu=True, all_yardsticks=True)
    assert (config.metric_for_best_model, config.yardsticks) == ("accuracy", [*BOTH])


def test_an_open_ended_task_is_chosen_for_by_the_reward_model(tmp_path):
    task = load_task({"name": "generic", "answer": "open"})

    def settled(**options):
        stage = DistillPPOConfig(output_dir=str(tmp_path), use_cpu=True, bf16=False, **options)
        stage.settle_task(task)
        return stage.yardstick, stage.metric_for_best_model

    assert settled() == ("reward", "reward_score")
    assert settled(eval_strategy="no")[0] == "labels"
    for options, setting in (
        ({"rewards": ["distilled", "vote"]}, "rewards: vote"),
        ({"moving_labels": "fail"}, "moving_labels: fail"),
        ({"yardstick": "agreement"}, "yardstick: agreement"),
        ({"validation_gold": 2}, "validation_gold: 2"),
    ):
        with pytest.raises(HFDistillError, match=f"ppo.{setting} compares final answers, and task 'generic'"):
            settled(**options)
