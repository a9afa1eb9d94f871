"""Labels that moved, judged by golds: from the files that labelling and PPO write to the line of a report."""

from shutil import copytree

import pytest

from hfdistill.kinds import LABELS
from hfdistill.ppo.moving_labels import write_labels
from hfdistill.report.compared import moved_labels
from hfdistill.report.evidence import Evidence, MeasuredRow
from hfdistill.report.moving import judge_labels
from hfdistill.report.tables import ReportedRow, ReportedSeed, ReportedTable
from hfdistill.rows import write_rows
from hfdistill.tasks import load_task

from .made_tables import ONE, TASK, Run


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Golds are 1; what the teacher said, and what labels became."""
    labels, policy = tmp_path_factory.mktemp("labels"), tmp_path_factory.mktemp("policy")
    said = {
        "a": (["2", "2", "1"], ["1", "1"]),  # careful answers agree on the wrong one, all of them on the right one
        "b": ([None, "3"], ["3"]),
        "c": (["1", "1"], []),
        "d": (["1"], ["2"]),
    }
    responses = [
        {"question_id": key, "answer": answer, "confidence": confidence}
        for key, both in said.items()
        for confidence, answers in zip(("high", "low"), both, strict=True)
        for answer in answers
    ]
    write_rows(labels, LABELS, "responses", responses)
    write_rows(labels, LABELS, "gold", [{"question_id": key, "gold": "1"} for key in said])
    moved = [("a", None, None, False), ("b", None, "1", False), ("c", "1", "2", False), ("d", None, "1", True)]
    names = ("question_id", "pseudo_label", "moved_label", "bought")
    vote = {"leading": "1", "vote_share": 0.8}
    write_labels(policy, [dict(zip(names, row, strict=True)) | vote for row in moved])
    return policy, labels


def test_what_is_right_is_judged_by_golds(folders):
    judged = judge_labels(*folders, load_task({"name": "word_problems"}))
    assert [row["question_id"] for row in judged] == ["a", "b", "c", "d"]
    assert [row["moved"] for row in judged] == [False, True, False, True]
    assert [row["stands"] for row in judged] == [False, True, True, True]
    assert [row["before"] for row in judged] == [False, False, True, False]
    assert all(row["leading"] for row in judged)
    assert [row["careful"] for row in judged] == [False, False, True, True]
    assert [row["all"] for row in judged] == [True, False, True, True]


def test_the_report_leaves_out_what_was_bought(folders):
    judged = judge_labels(*folders, load_task({"name": "word_problems"}))
    row = MeasuredRow("moving labels", "", False, moved={2: judged, 3: judged})
    (table,) = moved_labels([row, MeasuredRow("vote", "", True)])
    without, with_label = table.rows
    # of a and b the teacher's careful answers get none, all of its answers one, the student both; one has a label
    assert without[:5] == ["moving labels, questions with no label", "4", "0.000", "0.500", "1.000"]
    assert without[5:8] == ["0.500", "0.500", "+50.0"] and "2 / 0" in without
    assert with_label[:5] == ["moving labels, questions with a label", "2", "1.000", "1.000", "1.000"]
    assert with_label[5:8] == ["1.000", "0.000", "\N{MINUS SIGN}100.0"]
    assert list(moved_labels([MeasuredRow("vote", "", True)])) == []


def test_they_are_found_behind_a_row(folders, tmp_path):
    policy, labels = folders
    run = Run(tmp_path, 2)
    labels = run.publish("labels", "", {}, files={"": lambda place: copytree(labels, place, dirs_exist_ok=True)})
    policy = run.publish(
        "policy", "", {}, files={"": lambda place: copytree(policy, place, dirs_exist_ok=True)},
        rewards=[ONE], moving_labels="fail",
    )  # fmt: skip
    made = ReportedSeed(None, None, {"labels": labels, "policy": policy})
    row = ReportedRow("moving labels", "", False, {2: made})
    table = ReportedTable("fail", "", "", "trial", TASK, (2,), True, (row,), (), {})
    (measured,) = Evidence().measure(table)
    assert [label["moved"] for label in measured.moved[2]] == [False, True, False, True]
