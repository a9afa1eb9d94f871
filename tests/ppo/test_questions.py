"""What the recipe trains on, and what it is validated on."""

import pytest
from ppo_toy import make_args, make_policy, make_value_model
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from hfdistill.encoding import Encoder
from hfdistill.errors import HFDistillError
from hfdistill.ppo import PPOTrainer
from hfdistill.ppo.questions import answers_match, training_rows, validation_rows
from hfdistill.reward.distilled import DistilledReward
from hfdistill.reward.model import RewardScorer, prepare_reward_model
from hfdistill.tasks import Answer, load_task


@pytest.fixture(scope="module")
def task():
    return load_task({"name": "word_problems", "train": 4, "validation": 3, "test": 2})


@pytest.fixture
def encoder():
    return Encoder(letters())


def labelled(task, labels):
    return [
        {
            "question_id": question.question_id,
            "question": question.question,
            "split": question.split,
            "pseudo_label": labels.get(question.question_id),
        }
        for question in task.questions()
        if question.split != "test"
    ]


def train_ids(task):
    return [question.question_id for question in task.questions() if question.split == "train"]


def test_it_trains_on_d_s_and_d_fail(task, encoder):
    right, wrong, failed, mixed = train_ids(task)
    rows = training_rows(
        task,
        encoder,
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
        training_rows(task, encoder, labelled(task, dict.fromkeys(train_ids(task), "1")), [])


def test_a_question_that_the_task_does_not_have(task, encoder):
    gone = {"question_id": "gone", "question": "Where?", "split": "train", "pseudo_label": None}
    with pytest.raises(HFDistillError, match="'gone' of the dataset is not in the task"):
        training_rows(task, encoder, [gone], [])


def test_many_validation_questions_without_a_label_are_told_of(task, encoder, caplog):
    ids = [question.question_id for question in task.questions() if question.split == "validation"]
    validation_rows(task, encoder, labelled(task, dict.fromkeys(ids[:2], "5")))
    assert not caplog.text
    validation_rows(task, encoder, labelled(task, {ids[0]: "5"}), unlabelled=True)
    assert not caplog.text
    assert len(validation_rows(task, encoder, labelled(task, {ids[0]: "5"}))) == 1
    assert "2 of 3 validation questions have no label" in caplog.text


def test_validation_uses_pseudo_labels_or_golds(task, encoder):
    ids = [question.question_id for question in task.questions() if question.split == "validation"]
    asked = labelled(task, {ids[0]: "5", ids[2]: "6"})
    pseudo = validation_rows(task, encoder, asked)
    assert [(row["question_id"], row["pseudo_label"]) for row in pseudo] == [(ids[0], "5"), (ids[2], "6")]
    golds = [{"question_id": key, "gold": gold} for key, gold in task.golds().items()]
    gold = validation_rows(task, encoder, asked, golds, 2)
    assert [row["pseudo_label"] for row in gold] == [task.golds()[key] for key in ids[:2]]
    with pytest.raises(HFDistillError, match="no validation question has a pseudo label"):
        validation_rows(task, encoder, labelled(task, {}))
    with pytest.raises(HFDistillError, match="no validation question has a gold label"):
        validation_rows(task, encoder, asked, [])


def test_a_base_student_answers_behind_examples_and_stops_before_the_next(tmp_path, encoder):
    task = load_task({"name": "word_problems", "train": 4, "validation": 3, "test": 2, "shots": 2})
    rows = training_rows(task, encoder, labelled(task, {}), [], few_shot=True)
    assert all(row["prompt"].count("The answer is") == 2 and row["prompt"].count("Q: ") == 3 for row in rows)
    golds = [{"question_id": key, "gold": gold} for key, gold in task.golds().items()]
    validation = validation_rows(task, encoder, labelled(task, {}), golds, 2, few_shot=True)
    tokenizer = encoder.tokenizer
    sizes = {"vocab_size": len(tokenizer), "max_position_embeddings": 512}
    asked = []

    class Reader(RewardScorer):
        def score_ids(self, sequences, pessimism=0.0):
            asked.extend(sequences)
            return super().score_ids(sequences, pessimism)

    scorer = Reader(prepare_reward_model(make_value_model(**sizes)), encoder)
    task.extract = lambda text, question: Answer("1")
    trainer = PPOTrainer(
        make_policy(**sizes),
        DistilledReward().prepare(task, scorer, few_shot=True),
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


TEXTS = ["no idea", "The answer is 7.", "The answer is 8."]


def test_validation_counts_extracted_answers(task):
    match = answers_match(task)
    key = train_ids(task)[0]
    assert match(completions=TEXTS, question_id=[key] * 3, pseudo_label=["7"] * 3, prompts=[]) == [
        False,
        True,
        False,
    ]


def test_an_open_ended_task_fails_where_the_judge_likes_nothing(tmp_path, encoder):
    (tmp_path / "q.jsonl").write_text("".join(f'{{"question": "Why {number}?"}}\n' for number in range(4)))
    task = load_task({"name": "generic", "answer": "open", "path": str(tmp_path / "q.jsonl"), "validation_share": 0.0})
    (failed, *liked) = train_ids(task)
    asked = [{**row, "failed": row["question_id"] == failed} for row in labelled(task, {})]
    sampled = [(liked[0], "incorrect"), (liked[1], "correct"), (liked[2], None)]
    responses = [{"question_id": key, "label": label} for key, label in sampled]
    rows = training_rows(task, encoder, asked, responses)
    assert [(row["question_id"], row["pseudo_label"]) for row in rows] == [(failed, None), (liked[0], None)]
