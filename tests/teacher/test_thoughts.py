"""Teachers that think: what they think stands in a column of its own, and is never read as an answer."""

import sys
from pathlib import Path

import pytest

from hfdistill.errors import HFDistillError
from hfdistill.labels.first_look import look
from hfdistill.labels.sampled import SampledResponses
from hfdistill.sections import TeacherConfig
from hfdistill.tasks import load_task
from hfdistill.tasks.base import UNFINISHED
from hfdistill.teacher.journal import Journal, Response


sys.path.insert(0, str(Path(__file__).parent))
from asking import GRID, ask
from sampling_driver import make_plan


TASK = load_task({"name": "word_problems"})
PLAN = make_plan(8, GRID)
CHATTING = TeacherConfig("stand-in/teacher", chat=True)


def label(folder, url):
    """The rows of the dataset, and whether the first look lets the run go on."""
    ask(folder, url, chat=True, look=lambda journal: look(journal, TASK, PLAN.questions, CHATTING))
    with Journal(folder / "journal.sqlite") as journal:
        return list(SampledResponses(journal, PLAN, "stand-in/teacher", "openai_chat"))


@pytest.mark.parametrize("field", ["reasoning_content", "reasoning"])
def test_a_thought_beside_the_text_has_a_column(tmp_path, stand_in, field):
    rows = label(tmp_path, stand_in(kind="openai", thought="beside", thought_field=field).url)
    assert all(row["response"].startswith("The answer is") for row in rows)
    assert all(row["thought"].startswith("Well, w") for row in rows)


def test_a_teacher_that_only_thinks_is_told_before_the_rest_is_bought(tmp_path, stand_in):
    endpoint = stand_in(kind="openai", thought="only")
    with pytest.raises(
        HFDistillError, match="each of the teacher's first [0-9]+ responses ends within a thought.*answer is"
    ):
        label(tmp_path, endpoint.url)
    assert endpoint.control()["answered"] < 60


def test_a_thought_that_the_template_opened_is_no_answer_when_it_was_cut(tmp_path, stand_in):
    rows = label(tmp_path, stand_in(kind="openai", thought="opened").url)
    cut = [row for row in rows if row["finish_reason"] == "length"]
    assert 0 < len(cut) < len(rows)
    assert all(row["response"].startswith("<think>The answer is 0?") for row in cut)
    assert {TASK.extract(row["response"], None) for row in cut} == {UNFINISHED}
    assert all(TASK.extract(row["response"], None).value is not None for row in rows if row not in cut)


def test_conversations_that_are_all_cut_off_are_told(tmp_path):
    with Journal(tmp_path / "journal.sqlite") as journal:
        journal.add(Response(q.question_id, 0.0, 0, "The answer is 7?", "length") for q in PLAN.questions)
        with pytest.raises(HFDistillError, match=r"was cut off, .*enable_thinking: false"):
            look(journal, TASK, PLAN.questions, CHATTING)
        look(journal, TASK, PLAN.questions, TeacherConfig("stand-in/teacher"))
