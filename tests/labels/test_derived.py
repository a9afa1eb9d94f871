"""Labels derived from others: exactly so many wrong, the least sure withheld, golds where they are asked for."""

import json
import shutil
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hfdistill.cli import main
from hfdistill.errors import HFDistillError
from hfdistill.labels.derived import RelabelConfig, relabel_and_write, with_fewer, with_golds, with_noise
from hfdistill.rows import read_rows
from hfdistill.tasks import load_task


def questions(count: int, labels: list[str | None], split: str = "train") -> list[dict]:
    return [
        {
            "question_id": f"{split}-{number}",
            "question": f"What is {number} + 1?",
            "split": split,
            "pseudo_label": labels[number % len(labels)],
            "vote_share": (number % 7) / 7,
            "failed": labels[number % len(labels)] is None,
        }
        for number in range(count)
    ]


def same(a: str, b: str) -> bool:
    return float(a) == float(b)


ROWS = st.builds(
    lambda train, validation, labels: [*questions(train, labels), *questions(validation, labels, "validation")],
    st.integers(1, 60),
    st.integers(0, 20),
    st.lists(st.sampled_from(["1", "2", "3", "4.0", None]), min_size=2, max_size=9).filter(
        lambda labels: len({label for label in labels if label}) > 1
    ),
)


@given(ROWS, st.floats(0, 1), st.floats(0, 1), st.integers(0, 9))
def test_exactly_so_many_labels_are_wrong_and_a_smaller_share_is_part_of_a_larger(rows, noise, more, seed):
    labels = {row["pseudo_label"] for row in rows} - {None}
    answers = {row["question_id"]: Counter(["9", "9", "1", "4"]) for row in rows[::2]}
    if len(labels) < 2:
        return
    changed = []
    for part in sorted((noise, more)):
        made = with_noise(rows, answers, part, seed, same)
        assert [row["pseudo_label"] is None for row in made] == [row["pseudo_label"] is None for row in rows]
        wrong = {
            new["question_id"]
            for old, new in zip(rows, made, strict=True)
            if old["pseudo_label"] is not None and not same(old["pseudo_label"], new["pseudo_label"])
        }
        for split in ("train", "validation"):
            labelled = [row for row in rows if row["split"] == split and row["pseudo_label"] is not None]
            assert len(wrong & {row["question_id"] for row in labelled}) == round(part * len(labelled))
        changed.append(wrong)
    assert changed[0] <= changed[1]
    assert with_noise(rows, answers, noise, seed, same) == with_noise(rows, answers, noise, seed, same)


@given(ROWS, st.floats(0, 1))
def test_the_least_sure_are_withheld_until_so_many_have_none(rows, withhold):
    made = with_fewer(rows, withhold, 0)
    for split in ("train", "validation"):
        before = [row for row in rows if row["split"] == split]
        after = [row for row in made if row["split"] == split]
        none = sum(row["pseudo_label"] is None for row in before)
        assert sum(row["pseudo_label"] is None for row in after) == max(none, round(withhold * len(before)))
        kept = [row["vote_share"] for row in after if row["pseudo_label"] is not None]
        taken = [
            old["vote_share"]
            for old, new in zip(before, after, strict=True)
            if old["pseudo_label"] is not None and new["pseudo_label"] is None
        ]
        assert not kept or not taken or max(taken) <= min(kept)


def test_a_wrong_label_is_the_question_s_own_second_answer_where_it_has_one():
    rows = questions(2, ["1", "2"])
    made = with_noise(rows, {"train-0": Counter({"1": 9, "7": 2, "8": 3})}, 1.0, 0, same)
    assert [row["pseudo_label"] for row in made] == ["8", "1"]
    with pytest.raises(HFDistillError, match="no other answer that could stand for a wrong one to 'train-0'"):
        with_noise(questions(2, ["1"]), {}, 1.0, 0, same)


def test_letters_come_from_questions_with_as_many_options():
    rows = questions(3, ["A", "B", "C"])
    options = {"train-0": 2, "train-1": 2, "train-2": 10}
    assert with_noise(rows, {}, 1 / 3, 1, str.__eq__, options) != rows
    with pytest.raises(HFDistillError, match="'train-2'"):
        with_noise(rows, {}, 1.0, 1, str.__eq__, options)


def test_golds_stand_for_the_labels_of_training_questions_alone():
    rows = [*questions(2, ["1", None]), *questions(1, ["5"], "validation")]
    golds = {"train-0": "7", "train-1": "8", "validation-0": "9"}
    assert [row["pseudo_label"] for row in with_golds(rows, golds)] == ["7", "8", "5"]
    with pytest.raises(HFDistillError, match="no gold answer to 'train-1'"):
        with_golds(rows, {"train-0": "7"})


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "nothing is to be changed: give --noise, --withhold or --gold"),
        ({"noise": 1.5}, "--noise is 1.5: it is a share, from 0 to 1"),
        ({"withhold": -1}, "--withhold is -1"),
    ],
)
def test_settings_that_make_no_sense(settings, message):
    with pytest.raises(HFDistillError, match=message):
        RelabelConfig(**settings)


@pytest.fixture(scope="module")
def labels(tmp_path_factory) -> Path:
    """A labelled dataset: 40 questions, three answers each, of which the last tenth has no label."""
    folder = tmp_path_factory.mktemp("labels")
    rows = [{"question": f"What is {n} + 1?", "answer": f"#### {n + 1}"} for n in range(40)]
    (folder / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "test.jsonl").write_text(json.dumps({"question": "What is 100 + 1?", "answer": "#### 101"}) + "\n")
    responses = [
        {"question": row["question"], "response": f"The answer is {n + 1 + (sample == 2) + sample * (n > 35)}."}
        for n, row in enumerate(rows)
        for sample in range(4)
    ]
    (folder / "responses.jsonl").write_text("".join(json.dumps(row) + "\n" for row in responses))
    task = f"{{name: gsm8k, path: {folder}}}"
    words = ["--responses", str(folder / "responses.jsonl"), "--output", str(folder / "out")]
    with pytest.raises(SystemExit):
        main(["label", "--task", task, *words])
    return folder / "out"


def relabel(*arguments: object) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["relabel", *map(str, arguments)])
    assert ended.value.code == 0


def test_a_dataset_that_every_stage_reads(labels, tmp_path, capsys):
    out = tmp_path / "noisy"
    relabel(labels, "--output", out, "--noise", "0.25", "--seed", "3")
    before, after = (read_rows(folder, "questions") for folder in (labels, out))
    labelled = [row["pseudo_label"] is not None for row in before]
    changed = [old["pseudo_label"] != new["pseudo_label"] for old, new in zip(before, after, strict=True)]
    by_split = Counter(row["split"] for row in before if row["pseudo_label"] is not None)
    assert sum(changed) == sum(round(0.25 * count) for count in by_split.values())
    assert sum(labelled) < len(before) == 40
    label_of = {row["question_id"]: row["pseudo_label"] for row in after}
    task = load_task({"name": "gsm8k"})
    responses = read_rows(out, "responses")
    assert len(responses) == len(read_rows(labels, "responses"))
    for row in responses:
        label = label_of[row["question_id"]]
        right = label is not None and task.same(row["answer"], label)
        assert row["label"] == (None if label is None else "correct" if right else "incorrect")
    assert read_rows(out, "gold") == read_rows(labels, "gold")
    made = json.loads((out / "hfdistill.json").read_text())
    assert made["kind"] == "labels" and list(made["parents"]) == ["labels"]
    told = made["metrics"]["relabelled"]
    assert (told["noise"], told["seed"]) == (0.25, 3)
    assert told["changed"]["value"] == sum(changed) / 40
    assert told["right_before"]["value"] == 1.0 and told["right_after"]["value"] == 1 - sum(changed) / sum(labelled)
    card = " ".join((out / "README.md").read_text().split())
    assert "25 % of the labels were made wrong on purpose (seed 3)" in card and "gold answers stood" not in card

    capsys.readouterr()
    relabel(labels, "--output", out, "--noise", "0.25", "--seed", "3")
    assert "is complete at" in capsys.readouterr().out
    relabel(labels, "--output", out, "--gold")
    card = " ".join((out / "README.md").read_text().split())
    assert "gold answers stood in for those of training questions" in card
    golds = {row["question_id"]: row["gold"] for row in read_rows(out, "gold")}
    assert all(
        row["pseudo_label"] == golds[row["question_id"]]
        for row in read_rows(out, "questions")
        if row["split"] == "train"
    )


def test_withheld_labels_make_failed_questions(labels, tmp_path):
    settings = RelabelConfig(withhold=0.4)
    figures = relabel_and_write(tmp_path, labels, load_task({"name": "gsm8k"}), settings, 0)
    rows = read_rows(tmp_path, "questions")
    assert [row["failed"] for row in rows] == [row["pseudo_label"] is None for row in rows]
    assert figures["without_label"]["value"] == pytest.approx(0.4, abs=0.02)
    failed = {row["question_id"] for row in rows if row["failed"]}
    assert all((row["label"] is None) == (row["question_id"] in failed) for row in read_rows(tmp_path, "responses"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["LABELS", "--output", "LABELS", "--gold"], "the labels themselves: give another place"),
        (["OTHER", "--output", "OUT", "--gold"], "holds no labels that hfdistill made"),
        (["LABELS", "--output", "TAKEN", "--gold"], "holds other files"),
        (["WITHOUT", "--output", "OUT", "--gold"], "the labels hold no gold answer to"),
    ],
)
def test_mistakes_are_told_in_one_line(labels, tmp_path, capsys, arguments, message):
    for name in ("other", "taken"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "thesis.tex").write_text("mine")
    shutil.copytree(labels, tmp_path / "without")
    shutil.rmtree(tmp_path / "without" / "gold")
    places = {"LABELS": labels, "OUT": tmp_path / "out"}
    places |= {name.upper(): tmp_path / name for name in ("other", "taken", "without")}
    with pytest.raises(SystemExit) as ended:
        main(["relabel", *(str(places.get(word, word)) for word in arguments)])
    assert ended.value.code == 2
    assert message in capsys.readouterr().err
