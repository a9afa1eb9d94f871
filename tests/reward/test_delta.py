import math
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hfdistill.errors import HFDistillError
from hfdistill.reward.delta import DeltaReward, delta_rewards
from hfdistill.reward.stratified import squashed
from hfdistill.tasks import load_task


@given(st.lists(st.floats(-20, 20), min_size=2, max_size=8), st.integers(0, 5), st.floats(0, 3))
def test_steps_add_up_to_the_last_place_less_the_first(scores, behind, weight):
    tokens = [behind + index for index in range(len(scores) - 1)]
    earned = delta_rewards(scores, tokens, tokens[-1] + 1, weight)
    assert sum(earned) == pytest.approx(weight * (squashed(scores[-1]) - squashed(scores[0])), abs=1e-9)
    assert abs(sum(earned)) <= 2 * weight + 1e-9
    assert not any(earned[:behind])


class Letters:
    """A tokenizer of letters that ends a sequence with 1."""

    def __init__(self):
        self.tokenizer = SimpleNamespace(decode=self.decode)

    def question_ids(self, task, question):
        return [ord(letter) for letter in task.prompt(question, shots=0)]

    def finished_ids(self, ids, text):
        return [*ids[: len(text)], 1]

    def ended(self, ids):
        return ids[-1:] == [1]

    def decode(self, ids):
        return "".join(chr(token) for token in ids if token != 1)


class Lines:
    """Scores a beginning by a tenth of its newlines, and 1 more for its end token; remembers what it was asked."""

    encoder = Letters()

    def __init__(self):
        self.asked = []

    def score_at(self, sequences, positions, pessimism=0.0):
        self.asked += sequences
        asked = zip(sequences, positions, strict=True)
        return [[self.one(ids[: place + 1]) for place in places] for ids, places in asked]

    def one(self, ids):
        return ids.count(ord("\n")) / 10 + (ids[-1] == 1)


@pytest.fixture(scope="module")
def task():
    return load_task({"name": "word_problems", "train": 4, "validation": 3, "test": 2, "shots": 1})


def ask(task, texts, ids, labels, scorer=None):
    reward = DeltaReward(weight=1.0).prepare(task, scorer or Lines())
    key = task.questions()[0].question_id
    asked = {"prompts": [""] * len(texts), "completions": texts, "completion_ids": ids, "pseudo_label": labels}
    asked["question_id"] = [key] * len(texts)
    tokens = reward.token_rewards(**asked)
    assert reward(**asked) == [sum(row) for row in tokens]
    return tokens


def test_a_step_is_paid_where_it_ends(task):
    text = "\nSo.\nThe answer is 7."
    ids = [ord(letter) for letter in text] + [1]
    none = [ord(letter) for letter in "no idea"] + [1]
    tokens = ask(task, [text, text, text, "no idea"], [ids, ids, ids, none], ["7", "8", None, "7"])
    asked = task.prompt(task.questions()[0], shots=0).count("\n") / 10
    step, last = math.tanh((asked + 0.1) / 2) - math.tanh(asked / 2), 0.0
    for row, vote in zip(tokens[:3], (1.0, -1.0, 0.0), strict=True):
        paid = {index: value for index, value in enumerate(row) if value}
        assert list(paid) == [0, 4, len(ids) - 1]
        assert paid[0] == pytest.approx(step)
        last = paid[len(ids) - 1]
        assert last == pytest.approx(vote + math.tanh((asked + 1.2) / 2) - math.tanh((asked + 0.2) / 2))
    assert tokens[3] == [0.0] * 7 + [-5.0]


def test_behind_a_stop_string_the_end_is_paid_at_the_sampled_end(task):
    scorer, text = Lines(), "\nThe answer is 7."
    sampled = [ord(letter) for letter in text + "QQ"]
    (row,) = ask(task, [text], [sampled], ["7"], scorer)
    assert [index for index, value in enumerate(row) if value] == [0, len(sampled) - 1]
    assert scorer.asked[0][-1] == 1 and ord("Q") not in scorer.asked[0][-4:]


def test_options_that_make_no_sense():
    with pytest.raises(HFDistillError, match="weight of reward delta is -1"):
        DeltaReward(weight=-1)
