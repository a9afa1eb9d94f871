"""Accuracy of a row, with and without the questions that have no answer."""

import pytest

from hfdistill.artifacts import figures
from hfdistill.errors import HFDistillError
from hfdistill.evaluation.config import EvaluateConfig
from hfdistill.evaluation.grading import Answered, grade, read_leniently, summary
from hfdistill.evaluation.results import write_results
from hfdistill.intervals import wilson_interval
from hfdistill.rows import COLUMNS, read_rows
from hfdistill.tasks import Question, load_task


GOLDS = {"0": "5", "1": "7", "2": "none", "3": "none", "4": "9"}
QUESTIONS = [
    Question(number, f"Question {number}?", "test", category="critical thinking" if gold == "none" else "digits")
    for number, gold in GOLDS.items()
]


def graded(task_name: str, *answers: str | None) -> list:
    responses = [Answered("The answer is …", answer, "eos_token", 4) for answer in answers]
    return grade(load_task({"name": task_name}), "Ours", QUESTIONS[: len(answers)], GOLDS, responses)


def test_without_the_questions_that_have_no_answer():
    row = graded("gsm_plus", "5", None, None, "3", "9")
    made = summary(row, load_task({"name": "gsm_plus"}).unanswerable)
    assert (made["value"], made["n"]) == (0.6, 5)
    low, high = wilson_interval(2, 3)
    assert made["answerable"] == {"value": pytest.approx(2 / 3), "low": low, "high": high, "n": 3}
    assert made["categories"] == {"critical thinking": 0.5, "digits": pytest.approx(2 / 3)}


def test_a_model_that_never_answers_is_right_only_about_those():
    made = summary(graded("gsm_plus", None, None, None, None, None), "none")
    assert (made["value"], made["answerable"]["value"], made["no_answer"]) == (0.4, 0.0, 1.0)


def test_no_second_figure_where_every_question_has_an_answer():
    assert load_task({"name": "gsm8k"}).unanswerable is None
    assert "answerable" not in summary(graded("gsm_plus", "5", "7"), "none")
    assert "answerable" not in summary(graded("gsm8k", "5", "7", "1"), None)
    assert "answerable" not in summary(graded("gsm_plus", None, None, None)[2:], "none")


def test_the_figure_is_in_the_dataset_and_in_the_card(tmp_path):
    rows = {"gsm8k": graded("gsm8k", "5", "6"), "gsm_plus": graded("gsm_plus", "5", "7", None, "3", "1")}
    metrics = {task: {"Ours": summary(row, load_task({"name": task}).unanswerable)} for task, row in rows.items()}
    write_results(tmp_path, [*rows["gsm8k"], *rows["gsm_plus"]], metrics, "Ours", "Ours w/o R")
    first, second = read_rows(tmp_path, "results")
    assert (first["task"], first["value"], first["answerable"], first["answerable_n"]) == ("gsm8k", 0.5, None, None)
    assert (second["task"], second["value"], second["n"]) == ("gsm_plus", 0.6, 5)
    assert (second["answerable"], second["answerable_n"]) == (pytest.approx(2 / 3), 3)
    assert list(first) == list(second) == list(COLUMNS["results"]["results"])
    assert second["answerable_low"] < second["answerable"] < second["answerable_high"]
    shown = dict(figures.rows(metrics))
    assert shown["gsm plus: Ours"].startswith("60.0 %")
    assert shown["gsm plus: Ours: answerable"].startswith("66.7 %") and "n = 3" in shown["gsm plus: Ours: answerable"]


def test_every_answer_is_a_row_with_the_declared_columns(tmp_path):
    rows = graded("gsm_plus", "5", None)
    worse = [{**row, "row": "Ours w/o R", "correct": False} for row in rows]
    metrics = {"gsm_plus": {"Ours": summary(rows), "Ours w/o R": summary(worse)}}
    assert write_results(tmp_path, [*rows, *worse], metrics, "Ours", "Ours w/o R") == ["accuracy-gsm_plus.png"]
    assert metrics["gsm_plus"]["Ours minus Ours w/o R"]["difference"]["value"] == 0.5
    columns = COLUMNS["results"]["responses"]
    assert read_rows(tmp_path, "responses") == [{name: row.get(name) for name in columns} for row in [*rows, *worse]]
    assert {*rows[0]} - {"token_ids"} == {*columns} - {"score"}


def test_a_lenient_reading_takes_the_last_value_where_no_answer_is_announced():
    task = load_task({"name": "gsm8k"})
    texts = ["So 2 + 3 = 5", "The answer is 6. And 7.", "nothing", "7 apples, I think"]
    responses = [Answered(text, task.extract(text, QUESTIONS[0]).value, "eos_token", 4) for text in texts]
    strict = grade(task, "ICL", QUESTIONS[:4], {"0": "5", "1": "7", "2": "none", "3": "7"}, responses)
    lenient = read_leniently(task, "ICL (lenient)", QUESTIONS[:4], strict)
    assert [row["answer"] for row in strict] == [None, "6", None, None]
    assert [row["answer"] for row in lenient] == ["5", "6", None, "7"]
    assert [row["correct"] for row in lenient] == [True, False, False, True]
    assert {row["row"] for row in lenient} == {"ICL (lenient)"} and {row["row"] for row in strict} == {"ICL"}


def test_a_judges_verdicts_make_a_share_and_a_difference(tmp_path):
    task = load_task({"name": "generic", "answer": "open"})
    responses = [Answered("Dear Ann", "Dear Ann", "eos_token", 4)] * 5
    rows = grade(task, "Ours", QUESTIONS, {}, responses)
    assert {(row["gold"], row["correct"]) for row in rows} == {(None, None)}
    ours = [{**row, "correct": verdict} for row, verdict in zip(rows, (True, None, True, False, True), strict=True)]
    theirs = [{**row, "row": "Ours w/o R", "correct": False} for row in rows]
    made = {name: summary(row) for name, row in (("Ours", ours), ("Ours w/o R", theirs))}
    assert (made["Ours"]["value"], made["Ours"]["undecided"], made["Ours"]["n"]) == (0.6, 0.2, 5)
    assert "answerable" not in made["Ours"]
    metrics = {"generic": made}
    write_results(tmp_path, [*ours, *theirs], metrics, "Ours", "Ours w/o R")
    assert metrics["generic"]["Ours minus Ours w/o R"]["difference"]["value"] == pytest.approx(0.6)
    assert [row["undecided"] for row in read_rows(tmp_path, "results")] == [0.2, 0.0]
    for option in ("votes", "lenient"):
        with pytest.raises(HFDistillError, match=f"evaluate.{option} compares final answers"):
            EvaluateConfig(**{option: [4] if option == "votes" else ["Ours"]}).check_task(task)
