"""Labels that the student's own vote gives."""

from math import log

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ppo_toy import PROMPTS, assert_same_weights, logged, make_trainer, weights
from test_resume import StopAt

from hfdistill.errors import HFDistillError
from hfdistill.labels.vote import vote
from hfdistill.ppo.ballots import Ballot
from hfdistill.ppo.moving_labels import MovingLabels, entropy, weighted_vote, write_labels
from hfdistill.ppo.prompts import PromptDataset
from hfdistill.ppo.stage import DistillPPOConfig
from hfdistill.rows import read_rows
from hfdistill.training.saving import last_checkpoint


EXACT = {"atol": 0, "rtol": 0}
ANSWERS = st.lists(st.none() | st.sampled_from("abc"), min_size=1, max_size=8)


class FirstLetters:
    """Reads the toy's completions: the answer is the first letter."""

    same = staticmethod(str.__eq__)

    def __call__(self, completions, **columns):
        first = [next(iter(completion.split()), None) for completion in completions]
        return [Ballot(letter, float(letter is not None)) for letter in first]


def ballots(answers, weights=None):
    return [Ballot(answer, weight) for answer, weight in zip(answers, weights or [1.0] * len(answers), strict=True)]


def test_the_vote_is_weighted_and_no_answer_is_a_voter():
    assert weighted_vote(ballots("abb", [3.0, 1.0, 1.0]), str.__eq__) == ("a", pytest.approx(0.6))
    assert weighted_vote(ballots(["a", None, None, None], [0.9, 0, 0, 0]), str.__eq__) == ("a", 0.25)
    assert weighted_vote(ballots(["a", "b"]), str.__eq__) == ("a", 0.5)
    assert weighted_vote(ballots(["7", "7.0", "8"]), lambda a, b: float(a) == float(b))[0] == "7"
    assert weighted_vote(ballots([None, None], [0.0, 0.0]), str.__eq__) == (None, 0.0)


@given(answers=ANSWERS, weight=st.floats(0.01, 10))
def test_alike_weights_are_the_plain_vote(answers, weight):
    counted = vote(answers, 0.5)
    leader, share = weighted_vote(ballots(answers, [weight] * len(answers)), str.__eq__)
    assert share == pytest.approx(counted.share)
    assert counted.label is None or leader == counted.label


def dataset(labels):
    rows = [{"prompt": "a", "question_id": f"q{i}", "pseudo_label": label} for i, label in enumerate(labels)]
    return PromptDataset(rows, [(row, [4]) for row in rows])


def moving(scope="fail", **options):
    options = {"every": 2, "samples": 4, "threshold": 0.5, "seed": 0, **options}
    return MovingLabels(FirstLetters(), scope, **options)


def hold(labels, prompts, said, update=2):
    """A vote in which each question gets these answers, and watched ones their labels."""
    asked = labels.asked(prompts)
    answers = {row: said.get(row, [prompts.rows[row]["pseudo_label"]] * 4) for row in asked}
    return labels.move(prompts, [ballots(answers[row]) for row in asked], update)


def now(prompts):
    return prompts.columns(range(len(prompts)))["pseudo_label"]


def test_a_question_without_a_label_gets_the_one_that_wins_and_loses_it_again():
    prompts, labels = dataset([None, None, "x", "y"]), moving()
    figures = hold(labels, prompts, {0: "aaab", 1: "aabb"})
    assert now(prompts) == ["a", None, "x", "y"]
    assert figures["labels/moved"] == figures["labels/changed"] == 0.5
    assert figures["labels/vote_share"] == 0.625 and figures["labels/agreement"] == 1.0
    hold(labels, prompts, {0: "abcd", 1: "bbba"}, update=4)
    assert now(prompts) == [None, "b", "x", "y"]
    # The user's own rows stay as they were.
    assert [row["pseudo_label"] for row in prompts.dataset] == [None, None, "x", "y"]
    assert [labels.due(update) for update in (0, 1, 2, 3, 4)] == [False, False, True, False, True]


def test_all_may_move_but_those_that_are_watched():
    prompts, labels = dataset([None, *"xxxx"]), moving("all")
    watched = labels.watched(prompts)
    assert len(watched) == 2
    free = [row for row in range(1, 5) if row not in watched]
    hold(labels, prompts, {0: "aaaa", free[0]: "bbbb", free[1]: "bbxx"})
    expected = dict.fromkeys(range(5), "x") | {0: "a", free[0]: "b"}
    assert now(prompts) == [expected[row] for row in range(5)]


def test_golds_are_bought_once_for_the_least_sure_and_stay():
    prompts = dataset([None, None, None, "x"])
    labels = moving(golds={"q0": "1", "q1": "2", "q3": "9"}, gold_budget=1)
    hold(labels, prompts, {0: "aaab", 1: "aabc", 2: "abcd"})
    # No gold of the least sure one is known.
    assert labels.bought == ["q1"] and now(prompts) == ["a", "2", None, "x"]
    hold(labels, prompts, {0: "abcd", 1: "aaaa", 2: "bbbb"}, update=4)
    assert labels.bought == ["q1"] and now(prompts) == [None, "2", "b", "x"]


def test_collapse_is_noticed_and_the_last_good_labels_stay(tmp_path, caplog):
    prompts, labels = dataset([None, None, "x", "y"]), moving()
    hold(labels, prompts, {0: "aaaa", 1: "bbbb"})
    (watched,) = labels.watched(prompts)
    hold(labels, prompts, {0: "bbbb", 1: "bbba", watched: "zzzz"}, update=4)
    assert now(prompts)[:2] == ["a", "b"] and not labels.due(6)
    assert "update 4: the student's vote agrees with the teacher on 0.000 of the watched" in caplog.text
    figures = labels.figures(prompts)
    assert figures["stopped_before_update"] == 4 and figures["moved"] == 2 and figures["votes"] == 1
    other = moving()
    hold(other, prompts, {0: "aaaa", 1: "bbbb"})
    hold(other, prompts, {0: "bbbb", 1: "bbbb"}, update=4)
    assert "entropy of 0.000 nats, after 0.693" in other.why and now(prompts)[:2] == ["a", "b"]
    (tmp_path / "labels").mkdir()
    write_labels(tmp_path / "labels", other.rows(prompts))
    row = {"question_id": "q0", "pseudo_label": None, "moved_label": "a", "leading": "a"}
    assert read_rows(tmp_path, "labels")[0] == {**row, "vote_share": 1.0, "bought": False}


def test_nothing_moves_where_all_have_a_label():
    prompts, labels = dataset(["x", "y"]), moving()
    assert labels.asked(prompts) == []


def test_entropy():
    assert entropy([]) == 0 and entropy("aaa") == 0
    assert entropy("aabb") == pytest.approx(log(2))


LABELS = [None, "f", None, "h"] * 4
ROWS = [
    {**row, "question_id": str(i), "pseudo_label": label}
    for i, (row, label) in enumerate(zip(PROMPTS, LABELS, strict=True))
]


def label_reward(completions, pseudo_label, **columns):
    """1 for the label as the first letter; nothing to be had without one."""
    return [
        float(completion[:1] == label) if label else 0.0
        for completion, label in zip(completions, pseudo_label, strict=True)
    ]


def run(folder, stop=None, **kwargs):
    labels = moving(every=1, threshold=0.25, golds={str(i): "a" for i in range(16)}, gold_budget=2)
    options = {"total_episodes": 48, "save_strategy": "steps", "save_steps": 2, "train": ROWS, "reward": label_reward}
    trainer = make_trainer(folder, trainer_kwargs={"moving_labels": labels}, **{**options, **kwargs})
    if stop is not None:
        trainer.add_callback(StopAt(stop))
    trainer.train(resume_from_checkpoint=last_checkpoint(folder))
    return trainer, labels


def test_a_run_that_was_cut_off_ends_with_the_same_labels(tmp_path):
    told = []

    def reward(completions, pseudo_label, **columns):
        told.append(set(pseudo_label))
        return label_reward(completions, pseudo_label)

    whole, labels = run(tmp_path / "whole", reward=reward)
    assert len(logged(whole, "labels/moved")) == 2 and labels.votes and len(labels.bought) == 2
    # Rewards saw the teacher's labels in the first update, and gold answers after the first vote.
    assert [("a" in seen) for seen in told] == [False, True, True] and told[0] == {None, "f", "h"}
    for stop in (4, 6):
        folder = tmp_path / str(stop)
        run(folder, stop=stop)
        resumed, others = run(folder)
        assert others.state() == labels.state()
        assert_same_weights(weights(resumed.model), weights(whole.model), **EXACT)
        assert logged(resumed, "labels/changed") == logged(whole, "labels/changed")


def test_a_training_of_its_own_begins_with_the_teacher_s_labels(tmp_path):
    trainer, labels = run(tmp_path, save_strategy="no")
    trainer.train()
    assert logged(trainer, "labels/moved")[0] > 0 and labels.votes <= 2


def test_what_cannot_move(tmp_path):
    from datasets import Dataset

    options = {"trainer_kwargs": {"moving_labels": moving()}}
    with pytest.raises(HFDistillError, match="labels are to move: it has no column 'question_id'"):
        make_trainer(tmp_path, **options)
    with pytest.raises(HFDistillError, match="has no length, and its labels cannot move"):
        make_trainer(tmp_path, train=Dataset.from_list(ROWS).to_iterable_dataset(), **options)


@pytest.mark.parametrize(
    "options,message",
    [
        ({"moving_labels": "failed"}, "did you mean 'fail'"),
        ({"label_threshold": 1.0}, "ppo.label_threshold is 1.0"),
        ({"label_every": 0}, "ppo.label_every is 0"),
        ({"gold_budget": 3}, "ppo.gold_budget is 3, with moving_labels 'none'"),
    ],
    ids=str,
)
def test_settings_that_make_no_sense(tmp_path, options, message):
    with pytest.raises(HFDistillError, match=message):
        DistillPPOConfig(output_dir=str(tmp_path), use_cpu=True, **options)
