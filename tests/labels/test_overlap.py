"""The overlap of training and test questions, on benchmarks and planted copies."""

from hfdistill.labels.overlap import overlap, overlap_line
from hfdistill.tasks import Question, load_task


def test_gsm_plus_does_not_overlap_with_gsm8k_train_but_with_its_test(data):
    gsm8k = load_task({"name": "gsm8k", "path": data}).questions()
    gsm_plus = load_task({"name": "gsm_plus", "path": data}).questions()
    train = [question for question in gsm8k if question.split != "test"]
    found = overlap(train, gsm_plus)
    assert (found["questions"], found["exact"], found["copied"]) == (2400, 0, 0)
    test = overlap([question for question in gsm8k if question.split == "test"], gsm_plus)
    assert test["copied"] > 1000


def test_a_planted_copy_is_found(data):
    gsm8k = load_task({"name": "gsm8k", "path": data}).questions()
    gsm_plus = load_task({"name": "gsm_plus", "path": data}).questions()
    train = [question for question in gsm8k if question.split != "test"]
    original = gsm_plus[77].question
    verbatim = Question("planted", "  " + original.upper().replace(" ", "  "), "train")
    found = overlap([*train, verbatim], gsm_plus)
    assert found["exact"] >= 1 and found["listed"][0]["share"] == 1.0
    assert gsm_plus[77].question_id in {row["question_id"] for row in found["listed"]}
    words = original.split()
    words[3], words[-2] = "seventeen", "presently"
    changed = overlap([*train, Question("planted", " ".join(words), "train")], gsm_plus)
    assert changed["exact"] == 0 and changed["copied"] >= 1
    assert "share half or more of their runs of 8 words" in overlap_line(changed, "gsm_plus")


def test_short_questions_are_one_run():
    found = overlap(
        [Question("a", "What is it?", "train")], [Question("b", "what is it", "test"), Question("c", "", "test")]
    )
    assert (found["exact"], found["copied"], found["any"]) == (1, 1, 1)
