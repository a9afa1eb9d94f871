import pytest
import torch

from hfdistill.errors import HFDistillError
from hfdistill.reward.distilled import DistilledReward, distilled_reward
from hfdistill.tasks import load_task


def same(a: str, b: str) -> bool:
    return float(a) == float(b)


@pytest.mark.parametrize(
    ("answer", "pseudo_label", "score", "reward"),
    [
        (None, "5", None, -5.0),  # no extractable answer; the reward model was not asked
        (None, None, 3.0, -5.0),  # also in D_fail, whatever the score
        ("4", "5", 2.5, 0.0),  # differs: min(r, 0)
        ("4", "5", -1.5, -1.5),
        ("5", "5", 2.5, 2.5),  # agrees: r
        ("5", "5", -1.5, -1.5),
        ("5.0", "5", 2.5, 2.5),  # agrees as the task sees it
        ("4", None, 2.5, 2.5),  # D_fail: r
        ("4", None, -1.5, -1.5),
    ],
)
def test_equation_7(answer, pseudo_label, score, reward):
    assert distilled_reward("q", "a", answer, pseudo_label, score, same=same) == reward


@pytest.mark.parametrize(
    ("answer", "score", "reward"), [("4", 2.5, 1.5), ("4", -1.5, -2.5), ("5", 2.5, 2.5), (None, None, -5.0)]
)
def test_variant_minus(answer, score, reward):
    assert distilled_reward("q", "a", answer, "5", score, same=same, variant="minus") == reward


def test_unknown_variant():
    with pytest.raises(HFDistillError, match="did you mean 'minus'"):
        distilled_reward("q", "a", "4", "5", 1.0, same=same, variant="minos")


@pytest.fixture(scope="module")
def task():
    return load_task({"name": "word_problems", "train": 4, "validation": 3, "test": 2, "shots": 1})


class Letters:
    """A tokenizer of letters that ends a sequence with 1."""

    def question_ids(self, task, question):
        return self.response_ids(task.prompt(question, shots=0))[:-1]

    def response_ids(self, response):
        return [ord(letter) for letter in response] + [1]

    def finished_ids(self, ids, text):
        return self.response_ids(text)

    def ended(self, ids):
        return ids[-1:] == [1]

    def decode(self, ids):
        return "".join(chr(token) for token in ids if token != 1)


class Scorer:
    """Gives 2.0, and -1.5 to finished responses; remembers what it was asked."""

    encoder = Letters()

    def __init__(self):
        self.sequences = []

    def score_ids(self, sequences, pessimism=0.0):
        self.sequences += sequences
        return torch.tensor([-1.5 if ids[-1] == 1 else 2.0 for ids in sequences])


def ask(task, scorer, texts, labels, ends, few_shot=False, messages=False, cut=0, **options):
    """What Eq. 7 says of these texts, of which those that `ends` names end by themselves; and what it logs."""
    figures = {}
    asked = task.questions()[0]
    prompt = task.prompt(asked, shots=None if few_shot else 0)
    rewards = DistilledReward(**options).prepare(task, scorer, few_shot)(
        prompts=[[{"role": "user", "content": prompt}] if messages else prompt] * len(texts),
        completions=[[{"role": "assistant", "content": text}] if messages else text for text in texts],
        completion_ids=[
            [ord(letter) for letter in text + cut * "Q"] + [1] * end for text, end in zip(texts, ends, strict=True)
        ],
        question_id=[asked.question_id] * len(texts),
        pseudo_label=labels,
        log_metric=figures.__setitem__,
        log_extra=None,
        trainer_state=None,
    )
    return rewards, figures


TEXTS = ["no idea", "The answer is 7.", "The answer is 8.", "The answer is 8.", "The answer is 8."]
LABELS = ["7", "7", "7", "7", None]
ENDS = [False, False, False, True, True]


def test_eq_7_of_a_batch(task):
    scorer = Scorer()
    rewards, figures = ask(task, scorer, TEXTS, LABELS, ENDS)
    assert rewards == [-5.0, 2.0, 0.0, -1.5, -1.5]
    assert len(scorer.sequences) == 4  # the response without an answer is not scored
    bare = [ord(letter) for letter in task.prompt(task.questions()[0], shots=0)]
    assert all(ids[: len(bare)] == bare for ids in scorer.sequences)
    assert figures["objective/no_answer_rate"] == pytest.approx(0.2)
    assert figures["objective/pseudo_label_rate"] == 0.25


def test_the_variant_minus_of_a_batch(task):
    rewards, _ = ask(task, Scorer(), TEXTS, LABELS, ENDS, variant="minus")
    assert rewards == [-5.0, 2.0, 1.0, -2.5, -1.5]


@pytest.mark.parametrize("options", [{"messages": True}, {"few_shot": True}, {"messages": True, "few_shot": True}])
def test_behind_another_prompt_the_response_is_read_behind_the_bare_one(task, options):
    scorer = Scorer()
    rewards, _ = ask(task, scorer, TEXTS, LABELS, ENDS, **options)
    assert rewards == [-5.0, 2.0, 0.0, -1.5, -1.5]
    bare = task.prompt(task.questions()[0], shots=0)
    assert [scorer.encoder.decode(ids) for ids in scorer.sequences] == [bare + text for text in TEXTS[1:]]
    assert [scorer.encoder.ended(ids) for ids in scorer.sequences] == ENDS[1:]


def test_behind_worked_examples_a_stop_string_ends_a_response(task):
    scorer = Scorer()
    ask(task, scorer, TEXTS, LABELS, [False] * 5, few_shot=True, cut=2)
    assert all(scorer.encoder.ended(ids) and "Q" not in scorer.encoder.decode(ids)[-9:] for ids in scorer.sequences)


def test_nobody_answers(task):
    rewards, figures = ask(task, Scorer(), ["no", "idea"], ["7", None], [True, True])
    assert rewards == [-5.0, -5.0]
    assert figures["objective/no_answer_rate"] == 1.0


def test_it_works_without_a_log(task):
    asked = {"prompts": ["Q"], "completions": ["The answer is 7."], "completion_ids": [[1]], "pseudo_label": ["7"]}
    reward = DistilledReward().prepare(task, Scorer())
    assert reward(question_id=[task.questions()[0].question_id], **asked) == [-1.5]


def test_a_function_of_ones_own_takes_the_place_of_eq_7(task, tmp_path, monkeypatch):
    (tmp_path / "my_reward.py").write_text(
        "def one(question, response, answer, pseudo_label, score, *, same):\n"
        "    return float(answer is not None and pseudo_label is not None and same(answer, pseudo_label))\n"
        "def short(question, response, answer, pseudo_label, score):\n"
        "    return float(len(response))\n"
    )
    # A module in the working directory is found.
    monkeypatch.chdir(tmp_path)
    rewards, _ = ask(task, Scorer(), TEXTS, LABELS, ENDS, function="my_reward:one")
    assert rewards == [0.0, 1.0, 0.0, 0.0, 0.0]
    rewards, _ = ask(task, Scorer(), TEXTS, LABELS, ENDS, function="my_reward:short")
    assert rewards == [len(text) for text in TEXTS]
    with pytest.raises(HFDistillError, match="'my_reward:two' cannot be loaded"):
        ask(task, Scorer(), TEXTS, LABELS, ENDS, function="my_reward:two")


def test_options_that_make_no_sense():
    with pytest.raises(HFDistillError, match="did you mean 'minus'"):
        DistilledReward(variant="minos")
    with pytest.raises(HFDistillError, match="reads module:function"):
        DistilledReward(function="my_reward")
