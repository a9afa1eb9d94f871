"""What the recipe trains on, and Eq. 7 as it is asked during PPO."""

import pytest
import torch
from ppo_toy import make_args, make_policy, make_value_model
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from hfdistill.encoding import Encoder
from hfdistill.errors import HFDistillError
from hfdistill.ppo import PPOTrainer
from hfdistill.ppo.distilled import DistilledReward, answers_match, training_rows, validation_rows
from hfdistill.ppo.plots import curve, draw_diagnostics, draw_learning_curve, training_metrics
from hfdistill.reward.model import RewardScorer, prepare_reward_model
from hfdistill.tasks import Answer, load_task


@pytest.fixture(scope="module")
def task():
    return load_task({"name": "word_problems", "train": 4, "validation": 3, "test": 2})


def labelled(task, labels):
    return [
        {
            "question_id": question.question_id,
            "split": question.split,
            "pseudo_label": labels.get(question.question_id),
        }
        for question in task.questions()
        if question.split != "test"
    ]


def train_ids(task):
    return [question.question_id for question in task.questions() if question.split == "train"]


def test_it_trains_on_d_s_and_d_fail(task):
    right, wrong, failed, mixed = train_ids(task)
    rows = training_rows(
        task,
        labelled(task, {right: "1", wrong: "2", mixed: "3"}),
        [
            {"question_id": right, "label": "correct"},
            {"question_id": wrong, "label": "incorrect"},
            {"question_id": mixed, "label": "correct"},
            {"question_id": mixed, "label": "incorrect"},
        ],
    )
    assert {row["question_id"]: row["pseudo_label"] for row in rows} == {wrong: "2", failed: None, mixed: "3"}
    assert rows[0]["prompt"].startswith("Q: ")
    with pytest.raises(HFDistillError, match="nothing to train on"):
        training_rows(task, labelled(task, dict.fromkeys(train_ids(task), "1")), [])


def test_a_question_that_the_task_does_not_have(task):
    with pytest.raises(HFDistillError, match="'gone' of the labels is not in the task"):
        training_rows(task, [{"question_id": "gone", "split": "train", "pseudo_label": None}], [])


def test_validation_uses_pseudo_labels_or_golds(task):
    ids = [question.question_id for question in task.questions() if question.split == "validation"]
    pseudo = validation_rows(task, labelled(task, {ids[0]: "5", ids[2]: "6"}), "pseudo", None)
    assert [(row["question_id"], row["pseudo_label"]) for row in pseudo] == [(ids[0], "5"), (ids[2], "6")]
    gold = validation_rows(task, [], "gold", 2)
    assert [row["pseudo_label"] for row in gold] == [task.golds()[key] for key in ids[:2]]
    with pytest.raises(HFDistillError, match="no validation question has a pseudo label"):
        validation_rows(task, labelled(task, {}), "pseudo", None)


class Scorer:
    """Gives 2.0, and -1.5 to the sequences of one token more."""

    def __init__(self):
        self.asked = []

    def score_ids(self, sequences):

        self.asked += sequences
        return torch.tensor([2.0 if len(ids) == 2 else -1.5 for ids in sequences])


def ask(task, scorer, texts, labels, lengths, **options):
    figures = {}
    rewards = DistilledReward(task, scorer, **options)(
        prompt_ids=[[9]] * len(texts),
        completions=texts,
        completion_ids=[[1] * length for length in lengths],
        finished=[True] * len(texts),
        question_id=train_ids(task)[:1] * len(texts),
        pseudo_label=labels,
        log_metric=figures.__setitem__,
        prompts=texts,
    )
    return rewards, figures


TEXTS = ["no idea", "The answer is 7.", "The answer is 8.", "The answer is 8.", "The answer is 8."]
LABELS = ["7", "7", "7", "7", None]
LENGTHS = [1, 1, 1, 2, 2]


def test_eq_7(task):
    scorer = Scorer()
    rewards, figures = ask(task, scorer, TEXTS, LABELS, LENGTHS)
    assert rewards == [-5.0, 2.0, 0.0, -1.5, -1.5]
    assert len(scorer.asked) == 4  # the response without an answer is not scored
    assert figures["objective/no_answer_rate"] == pytest.approx(0.2)
    assert figures["objective/pseudo_label_rate"] == 0.25


def test_the_variant_minus(task):
    rewards, _ = ask(task, Scorer(), TEXTS, LABELS, LENGTHS, variant="minus")
    assert rewards == [-5.0, 2.0, 1.0, -2.5, -1.5]


def test_nobody_answers(task):
    scorer = Scorer()
    scorer.score_ids = lambda sequences: torch.empty(len(sequences))
    rewards, figures = ask(task, scorer, ["no", "idea"], ["7", None], [1, 1])
    assert rewards == [-5.0, -5.0]
    assert figures["objective/no_answer_rate"] == 1.0


def test_a_function_of_ones_own_takes_the_place_of_eq_7(task, tmp_path, monkeypatch):
    (tmp_path / "my_reward.py").write_text(
        "def one(question, response, answer, pseudo_label, score, *, same):\n"
        "    return float(answer is not None and pseudo_label is not None and same(answer, pseudo_label))\n"
        "def short(question, response, answer, pseudo_label, score):\n"
        "    return float(len(response))\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    rewards, _ = ask(task, Scorer(), TEXTS, LABELS, LENGTHS, function="my_reward:one")
    assert rewards == [0.0, 1.0, 0.0, 0.0, 0.0]
    rewards, _ = ask(task, Scorer(), TEXTS, LABELS, LENGTHS, function="my_reward:short")
    assert rewards == [len(text) for text in TEXTS]
    with pytest.raises(HFDistillError, match="'my_reward:two' cannot be loaded"):
        ask(task, Scorer(), TEXTS, LABELS, LENGTHS, function="my_reward:two")


def test_a_base_student_answers_behind_examples_and_stops_before_the_next(tmp_path):
    task = load_task({"name": "word_problems", "train": 4, "validation": 3, "test": 2, "shots": 2})
    rows = training_rows(task, labelled(task, {}), [], few_shot=True)
    assert all(row["prompt"].count("The answer is") == 2 and row["prompt"].count("Q: ") == 3 for row in rows)
    validation = validation_rows(task, [], "gold", 2, few_shot=True)
    tokenizer = letters()
    sizes = {"vocab_size": len(tokenizer), "max_position_embeddings": 512}
    asked = []

    class Reader(RewardScorer):
        def score_ids(self, sequences):
            asked.extend(sequences)
            return super().score_ids(sequences)

    scorer = Reader(prepare_reward_model(make_value_model(**sizes)), Encoder(tokenizer))
    task.extract = lambda text, question: Answer("1")
    trainer = PPOTrainer(
        make_policy(**sizes),
        DistilledReward(task, scorer, few_shot=True),
        make_args(tmp_path, max_completion_length=24, stop_strings=["Q:", *"aeiou"]),
        rows,
        validation,
        processing_class=tokenizer,
        eval_func=answers_match(task),
    )
    trainer.train()
    assert trainer.evaluate()["eval_accuracy"] >= 0
    bare = [tokenizer(task.prompt(question, shots=0))["input_ids"] for question in task.questions()]
    eos, stops = tokenizer.eos_token_id, set(tokenizer.convert_tokens_to_ids([*"aeiou"]))
    responses = [next(ids[len(prompt) :] for prompt in bare if ids[: len(prompt)] == prompt) for ids in asked]
    assert all(stops.isdisjoint(ids) for ids in responses)
    assert eos in {ids[-1] for ids in responses}
    # The policy did choose the stop strings' tokens: it is trained on them.
    assert not stops.isdisjoint(ids[-1] for ids in trainer.episodes.sequences)


def letters():
    """A tokenizer of single letters."""
    text = "".join(map(chr, range(32, 127))) + "\n"
    vocabulary = {word: i for i, word in enumerate(["<pad>", "<eos>", "<bos>", "<unk>", *text])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    tokenizer.decoder = decoders.Fuse()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", eos_token="<eos>", unk_token="<unk>", bos_token="<bos>"
    )


def test_validation_counts_extracted_answers(task):
    match = answers_match(task)
    key = train_ids(task)[0]
    assert match(completions=TEXTS[:3], question_id=[key] * 3, pseudo_label=["7"] * 3, prompts=[]) == [
        False,
        True,
        False,
    ]


class State:
    global_step = 8
    log_history = (
        {"step": 0, "eval_accuracy": 0.5},
        {"step": 4, "objective/scores": 1.0, "objective/kl": 0.1, "policy/skipped_steps": 1},
        {"step": 4, "eval_accuracy": 0.75},
        {"step": 8, "eval_accuracy": 0.75},
    )


class Options:
    steps_per_update = 4
    rollout_batch_size = 16


def test_figures_and_picture(tmp_path):
    assert curve(State.log_history, "eval_accuracy", 4, 16) == ([0.0, 16.0, 32.0], [0.5, 0.75, 0.75])
    metrics = training_metrics(State, 100, Options)
    assert metrics["validation_accuracy"]["value"] == 0.75
    assert metrics["validation_accuracy_before"]["value"] == 0.5
    assert metrics["best_step"] == 4
    assert metrics["episodes"] == 32
    assert metrics["skipped_steps"] == 1
    for draw in (draw_learning_curve, draw_diagnostics):
        for name in ("a.png", "b.png"):
            draw(State.log_history, 4, 16, tmp_path / name)
        assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
