import json
import shutil
from pathlib import Path

import pytest

from hfdistill.errors import HFDistillError
from hfdistill.space import explore
from hfdistill.space.run import ShownRun, shown, trained_for
from hfdistill.space.settings import Settings
from hfdistill.space.visitors import ForVisitors
from hfdistill.tasks import Question


def test_a_run_is_known_by_its_artifacts(run):
    assert run.task.name == "word_problems"
    assert run.teacher_name.endswith("tiny-large")
    assert run.student.endswith("tiny-small")
    assert len(run.votes) == 16
    assert list(run.missing) == ["triples"]
    assert "there is no folder" in run.missing["triples"]


def test_votes_are_those_of_the_teacher(run):
    shares = [vote.share for vote in run.votes.values()]
    assert max(shares) == 1.0
    labels = {vote.label is None for vote in run.votes.values() if vote.share <= 0.7}
    assert labels == {True}


def test_examples_come_with_their_answers(run):
    examples = run.examples()
    assert len(examples["test"]) == 5  # those that were answered
    assert len(examples["train"]) == 12
    first = examples["test"][0]
    assert run.stored(first)[0]["gold"] is not None
    assert run.stored_answer(first).text.startswith("\nStep 1: I count.")
    assert run.stored(examples["train"][0]) == []
    assert run.stored_answer(examples["train"][0]).temperature == 0.0


@pytest.mark.parametrize(
    ("task", "here"),
    [
        ({"name": "generic", "path": "nowhere.jsonl", "answer": "number"}, True),
        ({"name": "generic", "answer": "open"}, True),
        ({"name": "generic", "answer": "math"}, True),
        ({"name": "not_installed"}, False),
    ],
)
def test_what_is_stored_is_shown_where_the_task_cannot_be_read(tiny, tmp_path, task, here):
    """Questions in a file on another machine, an open-ended task, one of formulas, and a plug-in that is not here."""
    place = str(tmp_path / "tiny")
    for kind in ("labels", "results"):
        shutil.copytree(f"{tiny}-{kind}", f"{place}-{kind}")
        path = Path(f"{place}-{kind}", "hfdistill.json")
        made = json.loads(path.read_text())
        made["config"]["task"] = task
        path.write_text(json.dumps(made))
    run = ShownRun(Settings(place))
    assert len(next(iter(run.results.tasks.values())).question_ids) == 5
    assert run.same("1", "1")
    if not here:
        with pytest.raises(ForVisitors, match="what reads the answers of this run's task is not installed"):
            run.task  # noqa: B018
    assert "right" in explore.explore(run, {"question": next(iter(run.results.tasks.values())).question_ids[0]})


def test_a_typed_question_is_recognised(run):
    known = run.examples()["train"][3]
    assert run.question(f"  {known.question.upper()} ").question_id == known.question_id
    assert run.question("What is new?") == Question("", "What is new?", "typed")


def test_options_are_read_where_the_task_has_them(run, monkeypatch):
    choice = Question("q", "Which?", "test", options=("red", "blue"))
    assert shown(choice) == "Which?\nA. red\nB. blue"
    monkeypatch.setattr(run, "questions", {"q": choice})
    assert run.question("What now?\nA. left\nB) right").options == ("left", "right")
    assert run.question("What now?\nA. left\nC. right").options is None
    assert run.question("A. only one line").question == "A. only one line"


def test_nothing_to_show_is_one_sentence(tmp_path):
    with pytest.raises(HFDistillError, match=r"nothing of the run .* can be read"):
        ShownRun(Settings(str(tmp_path / "none")))


@pytest.mark.parametrize(
    ("entries", "variant", "others"),
    [
        (["distilled"], "min", None),
        ([{"name": "distilled", "variant": "minus", "function": None, "weight": 1}], "minus", None),
        ([{"name": "distilled", "function": "my_rewards:halved"}], "min", "1 × my_rewards:halved"),
        (
            ["{name: distilled, variant: minus}", {"name": "brief", "weight": 0.1}],
            "minus",
            "1 × distilled + 0.1 × brief",
        ),
        (["vote"], "min", "1 × vote"),
    ],
)
def test_what_the_policy_was_trained_for(entries, variant, others):
    assert trained_for(entries) == (variant, others)
