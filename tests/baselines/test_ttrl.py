"""The student's own vote as a reward, and the prompts that it is asked on."""

import pytest
from transformers import AutoTokenizer

from hfdistill.baselines.distillation import check_same_vocabulary
from hfdistill.baselines.prompts import prompt_dataset
from hfdistill.baselines.ttrl import SelfAgreement, questions_to_learn_on
from hfdistill.demo.models import tokenizer
from hfdistill.encoding import Encoder
from hfdistill.errors import HFDistillError
from hfdistill.tasks import load_task


TASK = load_task({"name": "word_problems", "train": 3, "validation": 2, "test": 3})


def test_agreement_with_the_group_is_what_pays():
    first, second, third = (row["question_id"] for row in questions_to_learn_on(TASK, Encoder(tokenizer())))
    says = "The answer is {}.".format
    asked = [
        (first, says(3), 1.0),
        (first, says(4), 0.0),
        (first, says(3), 1.0),
        (second, says(5), 1.0),  # of two answers given once each the first
        (second, says(6), 0.0),
        (second, "", 0.0),
        (third, "no idea", 0.0),
    ]
    keys, completions, rewards = zip(*asked, strict=True)
    reward = SelfAgreement().prepare(TASK)
    assert reward(["?"] * len(asked), completions, [[]] * len(asked), question_id=keys) == list(rewards)


def test_test_questions_alone_and_no_label():
    rows = questions_to_learn_on(TASK, Encoder(tokenizer()))
    assert {row["question_id"] for row in rows} == {
        each.question_id for each in TASK.questions() if each.split == "test"
    }
    assert all(row.keys() == {"prompt", "prompt_ids", "question_id"} for row in rows)
    with pytest.raises(HFDistillError, match="has no test questions"):
        questions_to_learn_on(
            load_task({"name": "word_problems", "train": 3, "validation": 2, "test": 0}), Encoder(tokenizer())
        )


def test_prompts_are_the_ids_of_the_rest_of_the_run_or_refused():
    encoder = Encoder(tokenizer())
    rows = questions_to_learn_on(TASK, encoder)
    assert prompt_dataset(rows, encoder, 100).column_names == ["prompt", "question_id"]
    longest = max(len(row["prompt_ids"]) for row in rows)
    assert len(prompt_dataset(rows, encoder, longest - 1)) < 3
    rows[1]["prompt_ids"] = rows[1]["prompt_ids"][1:]
    with pytest.raises(HFDistillError, match=f"prompt of question '{rows[1]['question_id']}' as other ids"):
        prompt_dataset(rows, encoder, 100)


def test_a_teacher_with_other_tokens_is_refused(tmp_path):
    ours = tokenizer()
    ours.save_pretrained(tmp_path)
    check_same_vocabulary(AutoTokenizer.from_pretrained(tmp_path), ours, "org/teacher")
    theirs = tokenizer()
    theirs.add_tokens(["more"])
    with pytest.raises(HFDistillError, match="'org/teacher' and the student have different vocabularies .* 1 of them"):
        check_same_vocabulary(theirs, ours, "org/teacher")
