"""Figures and plots of labels, on a worked example."""

import json

import pytest

from hfdistill.labels.plots import draw
from hfdistill.labels.statistics import LabelStatistics


def response(question_id: str, answer: str | None, label: str | None, temperature: float, text: str = "x") -> dict:
    return {
        "question_id": question_id,
        "response": text,
        "answer": answer,
        "label": label,
        "temperature": temperature,
        "finish_reason": "eos_token" if answer else "length",
        "completion_tokens": 10 if answer else 100,
        "model": "m",
    }


RESPONSES = [
    response("a", "1", "correct", 0.0, "one"),
    response("a", "1", "correct", 0.0, "one"),
    response("a", "2", "incorrect", 1.0, "two"),
    response("a", None, "incorrect", 1.0, "none"),
    response("b", "5", "correct", 0.0),
    response("b", "6", "incorrect", 1.0),
    response("c", "7", None, 0.0),
]
QUESTIONS = [
    {"question_id": "a", "category": "math", "pseudo_label": "1", "vote_share": 1.0, "failed": False},
    {"question_id": "b", "category": "law", "pseudo_label": "5", "vote_share": 0.75, "failed": False},
    {"question_id": "c", "category": "law", "pseudo_label": None, "vote_share": 0.5, "failed": True},
]
GOLD = {"a": "1", "b": "6", "c": "7"}


def figures_of(responses: list[dict], questions: list[dict], gold: dict[str, str] | None = None) -> dict:
    statistics = LabelStatistics(questions, gold)
    for row in responses:
        statistics.add(row)
    return statistics.result()


def test_the_figures_by_hand():
    made = figures_of(RESPONSES, QUESTIONS, GOLD)
    assert made["without_label"]["value"] == pytest.approx(1 / 3) and made["without_label"]["n"] == 3
    assert made["pseudo_labels_right"]["value"] == 0.5 and made["pseudo_labels_right"]["n"] == 2
    assert made["labels_against_gold"] == {"correct": {"right": 2, "wrong": 1}, "incorrect": {"right": 1, "wrong": 2}}
    assert made["unextractable"]["value"] == pytest.approx(1 / 7)
    cold, hot = made["by_temperature"]["0"], made["by_temperature"]["1"]
    assert cold == {"responses": 4, "labelled_correct": 1.0, "right": 0.75, "duplicates": 0.25, "unextractable": 0.0}
    assert hot["right"] == pytest.approx(1 / 3) and hot["labelled_correct"] == 0.0
    assert made["by_category"]["law"]["without_label"] == 0.5
    assert made["by_category"]["law"]["pseudo_labels_right"] == 0.0
    assert sum(made["vote_shares"]["counts"]) == 3 and made["vote_shares"]["counts"][19] == 1
    assert made["finish_reasons"] == {"eos_token": 6, "length": 1}
    assert (made["lengths"]["unit"], made["lengths"]["median"], made["lengths"]["longest"]) == ("tokens", 10, 100)
    json.dumps(made)


def test_without_golds_nothing_is_said_of_them():
    made = figures_of(RESPONSES, QUESTIONS)
    assert "labels_against_gold" not in made and "pseudo_labels_right" not in made
    assert made["by_temperature"]["0"]["right"] is None


def test_nothing_at_all_makes_no_figures(tmp_path):
    made = figures_of([], [])
    assert made["responses"] == 0 and draw(made, tmp_path) == []


def test_plots_are_drawn_and_equal_figures_are_equal_files(tmp_path):
    made = figures_of(RESPONSES, QUESTIONS, GOLD)
    files = draw(made, tmp_path / "a")
    assert {file.stem for file in files} == {
        *("without_label", "labels_against_gold", "vote_shares"),
        *("by_temperature", "lengths", "finish_reasons"),
    }
    for file in files:
        assert file.read_bytes().startswith(b"\x89PNG")
    again = draw(json.loads(json.dumps(made)), tmp_path / "b")
    assert [file.read_bytes() for file in files] == [file.read_bytes() for file in again]
