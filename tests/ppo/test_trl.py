"""One protocol of rewards: ours in TRL's trainers, TRL's in ours."""

import asyncio
import functools
import sys
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from datasets import Dataset
from ppo_toy import (
    PROMPTS,
    copy_reward,
    logged,
    make_args,
    make_policy,
    make_tokenizer,
    make_trainer,
    make_value_model,
)

from hfdistill.encoding import Encoder
from hfdistill.errors import HFDistillError
from hfdistill.ppo import PPOTrainer
from hfdistill.reward.distilled import DistilledReward, distilled_reward
from hfdistill.reward.model import RewardScorer, prepare_reward_model
from hfdistill.reward.rewards import load_rewards, text_of
from hfdistill.tasks import Answer, Question, Task


@dataclass
class FirstWord(Task):
    """The answer is the first word, if it is one of the second half of the letters."""

    max_new_tokens: int = 6

    def questions(self):
        return [Question(row["prompt"], row["prompt"], "train") for row in PROMPTS]

    def prompt(self, question, shots=None):
        return question.question

    def extract(self, response, question):
        first = response.split()[:1]
        return Answer(*first) if first and first[0] in "cdefgh" else Answer(None, "no_value")


def chat_tokenizer():
    tokenizer = make_tokenizer()
    tokenizer.chat_template = "{{ bos_token }} {% for message in messages %}{{ message['content'] }} {% endfor %}"
    return tokenizer


class Recorded(DistilledReward):
    """Eq. 7 that remembers what it was asked and what it said."""

    calls: list

    def __call__(self, **keywords):
        rewards = super().__call__(**keywords)
        self.calls.append((keywords, rewards))
        return rewards


@pytest.fixture(scope="module")
def reward():
    """The one object that all trainers get: Eq. 7 with a real reward model, tiny and untrained."""
    scorer = RewardScorer(prepare_reward_model(make_value_model(seed=5)), Encoder(make_tokenizer()))
    reward = Recorded().prepare(FirstWord(), scorer)
    reward.calls = []
    return reward


def rows(messages):
    return Dataset.from_list(
        [
            {
                "prompt": [{"role": "user", "content": row["prompt"]}] if messages else row["prompt"],
                "question_id": row["prompt"],
                "pseudo_label": None if i % 4 == 0 else "cdefgh"[i % 6],
            }
            for i, row in enumerate(PROMPTS)
        ]
    )


def of_trl(name, folder, reward, messages):
    import trl

    config = {"GRPO": trl.GRPOConfig, "RLOO": trl.RLOOConfig}[name](
        str(folder), use_cpu=True, bf16=False, max_steps=2, per_device_train_batch_size=16, num_generations=4,
        max_completion_length=6, logging_steps=1, report_to="none", save_strategy="no", disable_tqdm=True, seed=0,
    )  # fmt: skip
    trainer = {"GRPO": trl.GRPOTrainer, "RLOO": trl.RLOOTrainer}[name]
    make_policy().save_pretrained(folder / "policy")
    return trainer(str(folder / "policy"), reward, config, rows(messages), processing_class=chat_tokenizer())


def ours(folder, reward, messages):
    args = make_args(folder, total_episodes=32, num_ppo_epochs=1, num_mini_batches=1)
    return PPOTrainer(make_policy(), reward, args, rows(messages), processing_class=chat_tokenizer())


@pytest.mark.parametrize("messages", [False, True], ids=["text", "messages"])
@pytest.mark.parametrize("name", ["GRPO", "RLOO", "PPO"])
def test_two_steps_with_the_same_reward_object(tmp_path, reward, name, messages):
    trainer = ours(tmp_path, reward, messages) if name == "PPO" else of_trl(name, tmp_path, reward, messages)
    before = [parameter.detach().clone() for parameter in trainer.model.parameters()]
    reward.calls.clear()
    trainer.train()
    assert trainer.state.global_step == 2
    assert any(not torch.equal(a, b) for a, b in zip(before, trainer.model.parameters(), strict=True))
    scorer, task, seen = reward.scorer, reward.task, []
    for asked, said in reward.calls:
        assert len(said) == 16
        columns = (asked[key] for key in ("question_id", "completions", "completion_ids", "pseudo_label"))
        for question, completion, ids, label, value in zip(*columns, said, strict=True):
            text, answer = text_of(completion), task.extract(text_of(completion), None).value
            # As the ids that were sampled, behind the question alone.
            score = scorer.score_ids([scorer.encoder.prompt_ids(question) + list(ids)]).item() if answer else None
            assert value == pytest.approx(
                distilled_reward(question, text, answer, label, score, same=task.same), abs=1e-5
            )
            seen.append((answer, label))
    answered = [answer is not None for answer, _ in seen]
    assert len(seen) == 32 and any(answered) and not all(answered)
    assert any(answer and label and answer != label for answer, label in seen)
    # What Eq. 7 logs is in everybody's log.
    assert logged(trainer, "objective/no_answer_rate") == pytest.approx(
        [1 - sum(answered[:16]) / 16, 1 - sum(answered[16:]) / 16]
    )


def test_the_sum_of_rewards_by_name_in_trls_trainer(tmp_path, reward):
    functions = load_rewards(["distilled", {"name": "brief", "weight": 0.1}], reward.task, lambda: reward.scorer)
    trainer = of_trl("GRPO", tmp_path, functions, False)
    trainer.train()
    assert len(logged(trainer, "rewards/distilled/mean")) == len(logged(trainer, "rewards/brief/mean")) == 2


def solve(folder, reward, **options):
    """Our trainer on messages with solutions."""
    data = [{"prompt": [{"role": "user", "content": row["prompt"]}], "solution": r"$\frac13$"} for row in PROMPTS]
    args = make_args(folder, eval_strategy="steps", eval_steps=4, **options)
    return PPOTrainer(make_policy(), reward, args, data, data, processing_class=chat_tokenizer())


def test_trls_functions_in_our_trainer(tmp_path):
    from trl.rewards import get_repetition_penalty_reward, get_soft_overlong_punishment, think_format_reward

    functions = [think_format_reward, get_soft_overlong_punishment(6, 4), get_repetition_penalty_reward(2)]
    trainer = solve(tmp_path, functions, reward_weights=[1.0, 0.5, 0.5])
    trainer.train()
    assert trainer.state.global_step == 8
    assert logged(trainer, "rewards/think_format_reward") == [0.0, 0.0]
    assert all(-1 <= value < 0 for value in logged(trainer, "rewards/soft_overlong_punishment_reward"))
    assert logged(trainer, "rewards/repetition_penalty_reward")


def test_trls_accuracy_with_its_column_and_its_extra_logs(tmp_path, capsys):
    pytest.importorskip("math_verify")
    from trl.rewards import accuracy_reward

    trainer = solve(tmp_path, accuracy_reward)
    trainer.train()
    assert logged(trainer, "objective/scores") == [0.0, 0.0]
    assert "solution: $\\frac13$" in capsys.readouterr().out


def test_coroutines_wait_at_the_same_time_and_on_one_loop(tmp_path):
    arrived, loops = [], set()

    async def first(completions, trainer_state, **columns):
        arrived.append("first")
        loops.add(asyncio.get_running_loop())
        while "second" not in arrived:
            await asyncio.sleep(0.001)
        return [float(trainer_state.global_step)] * len(completions)

    class Second:
        async def __call__(self, completions, weight, **columns):
            arrived.append("second")
            loops.add(asyncio.get_running_loop())
            return torch.full((len(completions),), weight)

    trainer = make_trainer(tmp_path, reward=[first, functools.partial(Second(), weight=2.0)])
    trainer.train()
    assert len(loops) == 1
    assert logged(trainer, "rewards/first") == [0.0, 4.0]
    assert logged(trainer, "rewards/Second") == [2.0, 2.0]


def test_a_coroutine_that_raises_is_named(tmp_path):
    async def broken(**columns):
        raise KeyError("label")

    with pytest.raises(HFDistillError, match="'broken' raised KeyError"):
        make_trainer(tmp_path, reward=broken).train()


@pytest.mark.parametrize("kind", [torch.Tensor, np.ndarray, "bfloat16 with gradient"], ids=str)
def test_rewards_may_be_tensors(tmp_path, kind):
    def reward(completions, **columns):
        values = torch.arange(float(len(completions)))
        values[3] = torch.nan
        if kind == np.ndarray:
            return values.numpy()
        return values if kind == torch.Tensor else values.bfloat16().requires_grad_()

    trainer = make_trainer(tmp_path, reward=reward)
    episodes, *_ = trainer.rollouts.collect(0, 0.0, trainer.state)
    assert episodes.scores.tolist() == [float(i) for i in range(16) if i != 3]


def test_a_function_in_a_module_of_the_working_directory(tmp_path, monkeypatch):
    (tmp_path / "my_own_rewards.py").write_text("def short(completion_ids, **columns):\n    return [-1.0] * 16\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    trainer = make_trainer(tmp_path, reward=["my_own_rewards:short", copy_reward])
    trainer.train()
    assert logged(trainer, "rewards/short") == [-1.0, -1.0]
    with pytest.raises(HFDistillError, match="'my_own_rewards:long' cannot be loaded"):
        make_trainer(tmp_path, reward="my_own_rewards:long")


def test_completions_are_logged_as_trl_does(tmp_path, capsys):
    def first(completions, log_extra, **columns):
        log_extra("letters", [len(completion) for completion in completions])
        return [None if i % 2 else 1.0 for i in range(len(completions))]

    options = {"log_completions": True, "num_completions_to_print": 1}
    trainer = make_trainer(tmp_path, reward=[first, copy_reward], **options)
    trainer.train()
    printed = capsys.readouterr().out
    assert printed.count("Completion") == printed.count("letters") == 2
    tables = sorted((tmp_path / "completions").iterdir())
    # Eight steps, the first of each update.
    assert [path.name for path in tables] == ["completions_00001.parquet", "completions_00005.parquet"]
    rows = Dataset.from_parquet(str(tables[0]), cache_dir=str(tmp_path))
    assert len(rows) == 16
    assert rows.column_names == ["step", "prompt", "completion", "first", "copy_reward", "score", "letters"]
    assert rows[0]["first"] == 1.0 and rows[1]["first"] is None
    assert rows[0]["score"] == pytest.approx(1 + rows[0]["copy_reward"])
    assert rows[2]["letters"] == str(len(rows[2]["completion"]))
