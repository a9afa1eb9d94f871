"""Answers that are announced in other languages."""

import re
import time
from pathlib import Path

import pytest

from hfdistill.errors import HFDistillError
from hfdistill.tasks import Question, load_task, resolved


NUMBERS = [
    *[("zh", text, value) for text, value in [
        ("每袋7个,所以答案是42个苹果。", "42"),
        ("答案：42", "42"),
        ("**最终答案：** 42", "42"),
        ("### 最终答案\n42", "42"),
        ("答案是３.５。因为7除以2。", "7/2"),
        ("答案是42万元。", "420000"),
        ("答案是5千克。", "5"),
        ("答案是负3。", "-3"),
        ("答案是3个苹果和4个梨。", None),
        ("答案是5。\n\n问题：下一个?\n答案是6。", "5"),
        ("<think>答案是6?</think>答案为5。", "5"),
        ("一共42个。", None),
    ]],
    *[("ja", text, value) for text, value in [
        ("したがって、答えは42個です。", "42"),
        ("答え：42", "42"),
        ("正解は、1,200円です。", "1200"),
        ("答えは3万円です。", "30000"),
        ("答えは5です。\n質問：次は?\n答えは6です。", "5"),
    ]],
    *[("ko", text, value) for text, value in [
        ("따라서 답은 42개입니다.", "42"),
        ("정답: 42", "42"),
        ("최종 답변: 42", "42"),
        ("정답은 5만 원입니다.", "50000"),
    ]],
    *[("de", text, value) for text, value in [
        ("Die Antwort ist 42.", "42"),
        ("Die Antwort lautet also 3,5 Euro.", "7/2"),
        ("Antwort: 1.234,50 €", "2469/2"),
        ("Die richtige Lösung ist 1.234 Euro.", "1234"),
        ("Die Antwort ist 0,125.", "1/8"),
        ("Die Antwort ist 5 Millionen Euro.", "5000000"),
        ("Die Antwort ist 86 Eier und 42 Teller.", None),
        ("**Endgültige Antwort:** 42", "42"),
        ("Die Antwort ist 5.\nFrage: Und nun?\nDie Antwort ist 6.", "5"),
    ]],
    *[("fr", text, value) for text, value in [
        ("La réponse est donc 42 euros.", "42"),
        ("Réponse : 3,5", "7/2"),
        ("La réponse finale est 1 234,5 €.", "2469/2"),
        ("La réponse est moins 3.", "-3"),
    ]],
    *[("es", text, value) for text, value in [
        ("La respuesta correcta es 42.", "42"),
        ("**Respuesta:** 42 manzanas", "42"),
        ("La respuesta es 1,234.50 pesos.", "2469/2"),
        ("La respuesta es 5 mil millones.", "5000000000"),
    ]],
    ("Il risultato è", "Il risultato è 42.", "42"),
]  # fmt: skip


@pytest.mark.parametrize(("markers", "response", "value"), NUMBERS)
def test_numbers(markers, response, value):
    task = load_task({"name": "generic", "answer_markers": [markers]})
    question = task.question("?", "train", "q")
    assert task.extract(response, question).value == value
    assert task.extract("The answer is 7.", question).value == "7"


PAGE = (Path(__file__).parents[2] / "docs" / "answers.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("row", re.findall(r"^\| `(.+)` \| (.+) \| (.+) \|$", PAGE, re.MULTILINE))
def test_the_page_on_answers_tells_what_is_read(row):
    markers, response, value = row
    task = load_task({"name": "generic", "answer_markers": [markers]})
    assert task.extract(response, task.question("?", "train", "q")).value == value


@pytest.mark.parametrize(
    ("markers", "response", "letter"),
    [
        ("zh", "正确答案是B。", "B"),
        ("zh", "答案选（C）", "C"),
        ("zh", "答案是选项D。", "D"),
        ("zh", "答案是B选项。", "B"),
        ("zh", "答案是A和C。", None),
        ("zh", "答案是B细胞。", None),
        ("ja", "正解は「B」です。", "B"),
        ("ja", "答えはBです", "B"),
        ("ko", "정답은 B입니다.", "B"),
        ("ko", "정답: (C)", "C"),
        ("de", "Die richtige Antwort ist (B).", "B"),
        ("de", "Die Antwort ist A und C.", None),
        ("fr", "La bonne réponse est la lettre B.", "B"),
        ("es", "La respuesta correcta es la opción C.", "C"),
    ],
)
def test_letters(markers, response, letter):
    task = load_task({"name": "generic", "answer": "choice", "answer_markers": markers})
    question = Question("q", "?", "train", ("a", "b", "c", "d"))
    assert task.extract(response, question).value == letter


def test_phrases():
    task = load_task({"name": "generic", "answer": "exact", "answer_markers": ["ja", "de"]})
    question = task.question("?", "train", "q")
    assert task.extract("答えは東京です。", question).value == "東京"
    assert task.extract("Die Antwort ist Tausend und eine Nacht.", question).value == "Tausend und eine Nacht"


def test_only_where_they_are_asked_for():
    task = load_task({"name": "generic"})
    assert task.extract("Die Antwort ist 42.", task.question("?", "train", "q")).reason == "no_marker"
    assert "answer_markers" not in resolved("generic")
    assert resolved({"name": "generic", "answer_markers": ["de"]})["answer_markers"] == ("de",)


@pytest.mark.parametrize("piece", ["1.111", "1,1", "\n", "答案是", "A和"])
def test_a_megabyte_of_anything(piece):
    task = load_task({"name": "generic", "answer_markers": ["zh", "de", "es"]})
    text = (piece * 1_000_000)[:1_000_000]
    started = time.process_time()
    task.extract(text, task.question("?", "train", "q"))
    assert time.process_time() - started < 0.6  # three languages; the aim is 0.1 s each


@pytest.mark.parametrize("markers", ["it", " ", [5], ["de", ""]])
def test_mistakes(markers):
    with pytest.raises(
        HFDistillError, match="answer_markers: .* is neither one of zh, ja, ko, de, fr, es nor a phrase"
    ):
        load_task({"name": "generic", "answer_markers": markers})
