import pytest

from hfdistill.errors import HFDistillError
from hfdistill.warmup.examples import encode_examples, select_responses

from ..reward.conftest import EOS


def row(question_id: str, response: str, label: str | None, finish_reason: str = "eos_token") -> dict:
    return {"question_id": question_id, "response": response, "label": label, "finish_reason": finish_reason}


ROWS = [
    row("q1", "right", "correct"),
    row("q1", "right", "correct"),
    row("q1", "wrong", "incorrect"),
    row("q1", "right otherwise", "correct"),  # of low confidence: the label alone counts
    row("q2", "no answer", "incorrect"),
    row("failed", "whatever", None),
    row("validation", "right", "correct"),
]
TRAINING = ["q2", "q1", "failed"]


def texts(**settings) -> list[tuple[str, str]]:
    return [(row["question_id"], row["response"]) for row in select_responses(ROWS, TRAINING, **settings)]


def test_equation_1():
    assert texts(deduplicate=False) == [("q1", "right"), ("q1", "right"), ("q1", "right otherwise")]


def test_identical_texts_count_once():
    assert texts() == [("q1", "right"), ("q1", "right otherwise")]


def test_all_is_every_response_to_a_training_question():
    assert texts(data="all", deduplicate=False) == [
        ("q2", "no answer"),
        ("q1", "right"),
        ("q1", "right"),
        ("q1", "wrong"),
        ("q1", "right otherwise"),
        ("failed", "whatever"),
    ]


def test_max_per_question_draws_by_seed_and_question():
    many = [row(q, f"{q} {i}", "correct") for q in ("q1", "q2") for i in range(30)]
    drawn = select_responses(many, ["q1", "q2"], max_per_question=3, seed=1)
    assert [r["question_id"] for r in drawn] == ["q1"] * 3 + ["q2"] * 3
    assert len({r["response"] for r in drawn}) == 6
    assert select_responses(many, ["q2"], max_per_question=3, seed=1) == drawn[3:]
    assert select_responses(many, ["q1", "q2"], max_per_question=3, seed=2) != drawn


def test_prompt_is_no_label_and_eos_ends_finished_responses(encoder):
    rows = [row("q", "w3 w4", "correct"), row("q", "w3", "correct", "length")]
    examples, too_long = encode_examples(rows, {"q": encoder.prompt_ids("w1 w2")}, encoder, max_length=None)
    w1, w2, w3, w4 = encoder.tokenizer.convert_tokens_to_ids(["w1", "w2", "w3", "w4"])
    assert examples["input_ids"][0] == [w1, w2, w3, w4, EOS]
    assert examples["labels"][0] == [-100, -100, w3, w4, EOS]
    assert examples["input_ids"][1] == [w1, w2, w3]
    assert too_long == 0


def test_an_example_too_long_is_left_out_and_counted(encoder):
    rows = [row("q", "w3 w4 w5", "correct"), row("q", "w3", "correct")]
    examples, too_long = encode_examples(rows, {"q": encoder.prompt_ids("w1 w2")}, encoder, max_length=5)
    assert (len(examples), too_long) == (1, 1)


def test_settings_that_do_not_exist(make_args):
    with pytest.raises(HFDistillError, match="unknown value of warmup.data: 'every'"):
        make_args(data="every")
    with pytest.raises(HFDistillError, match="value of warmup.validation_labels: 'golds', did you mean 'gold'"):
        make_args(validation_labels="golds")
    for name in ("packing", "padding_free"):
        with pytest.raises(HFDistillError, match=f"warmup.{name} would let an example attend to those beside it"):
            make_args(**{name: True})
