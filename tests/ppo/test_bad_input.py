"""What is wrong is said in one sentence, or left out and counted."""

import pytest
import torch
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

from hfdistill.errors import HFDistillError
from hfdistill.ppo import PPOTrainer


def build(tokenizer, folder, **kwargs):
    return PPOTrainer(make_policy(), copy_reward, make_args(folder), PROMPTS, processing_class=tokenizer, **kwargs)


@pytest.mark.parametrize("pad_token", ["<eos>", None])
def test_a_tokenizer_that_cannot_pad_gets_a_token_to_spare(tmp_path, pad_token, caplog):
    tokenizer = make_tokenizer()
    tokenizer.pad_token = pad_token
    tokenizer.name_or_path = f"pads-with-{pad_token}"  # each is said once
    trainer = build(tokenizer, tmp_path)
    assert trainer.encoder.pad_token_id not in (None, trainer.encoder.eos_token_id)
    assert trainer.model.policy.config.pad_token_id == trainer.encoder.pad_token_id
    assert f"{tokenizer.pad_token!r} pads instead" in caplog.text


def test_no_tokenizer(tmp_path):
    with pytest.raises(HFDistillError, match="loaded from nowhere: give processing_class"):
        build(None, tmp_path)


@pytest.mark.parametrize("role", ["value_model", "ref_model", "reward"])
def test_vocabularies_must_agree(tmp_path, role):
    other = make_policy() if role == "ref_model" else make_value_model()
    other.resize_token_embeddings(99)
    with pytest.raises(HFDistillError, match="knows 99 tokens and the policy 12"):
        if role == "reward":
            make_trainer(tmp_path, reward=other)
        else:
            make_trainer(tmp_path, trainer_kwargs={role: other})


def test_a_value_model_has_one_output(tmp_path):
    from transformers import LlamaForSequenceClassification

    two = LlamaForSequenceClassification(
        make_value_model().config.__class__(**{**make_value_model().config.to_diff_dict(), "num_labels": 2})
    )
    with pytest.raises(HFDistillError, match="2 outputs instead of 1"):
        make_trainer(tmp_path, trainer_kwargs={"value_model": two})


def test_no_reward_function(tmp_path):
    with pytest.raises(HFDistillError, match="reward_funcs is empty"):
        make_trainer(tmp_path, reward=[])
    with pytest.raises(HFDistillError, match="is no reward function"):
        make_trainer(tmp_path, reward=[3])


def test_weights_for_each_function(tmp_path):
    with pytest.raises(HFDistillError, match="2 entries for 1 reward function"):
        make_trainer(tmp_path, reward_weights=[1.0, 2.0])


def test_a_reward_function_that_raises_is_named(tmp_path):
    def broken(**columns):
        raise KeyError("label")

    with pytest.raises(HFDistillError, match="'broken' raised KeyError"):
        make_trainer(tmp_path, reward=broken).train()


@pytest.mark.parametrize(
    "values,found",
    [
        ([1.0], "1 values"),
        (3.0, "float"),
        (None, "NoneType"),
        (dict.fromkeys(range(16), 1.0), "dict"),
        ("1111222233334444", "str"),
        (torch.tensor(3.0), "float"),
    ],
    ids=str,
)
def test_a_reward_function_returns_one_number_an_episode(tmp_path, values, found):
    def short(**columns):
        return values

    with pytest.raises(HFDistillError, match=f"'short' returned {found} for 16"):
        make_trainer(tmp_path, reward=short).train()


def test_a_reward_that_is_no_number(tmp_path):
    def words(completions, **columns):
        return ["good"] * len(completions)

    with pytest.raises(HFDistillError, match="'words' returned 'good' for a completion"):
        make_trainer(tmp_path, reward=words).train()


@pytest.mark.parametrize("nothing", [None, float("nan"), float("inf")])
def test_episodes_without_a_reward_are_left_out_and_counted(tmp_path, nothing):
    def sometimes(completions, **columns):
        return [nothing if i % 4 == 0 else 1.0 for i in range(len(completions))]

    trainer = make_trainer(tmp_path, reward=sometimes)
    trainer.train()
    assert logged(trainer, "val/unscored_episodes") == [4.0, 4.0]
    assert logged(trainer, "objective/scores") == [1.0, 1.0]
    assert len(trainer.episodes) == 12


def test_no_episode_at_all_has_a_reward(tmp_path):
    with pytest.raises(HFDistillError, match="a number to 0 of 16 episodes"):
        make_trainer(tmp_path, reward=lambda completions, **_: [None] * len(completions)).train()


def test_functions_are_mixed_weighted_and_may_be_silent(tmp_path):
    def first(completions, **columns):
        return [1.0] * len(completions)

    def second(completions, **columns):
        return [None if i % 2 else 10.0 for i in range(len(completions))]

    trainer = make_trainer(tmp_path, reward=[first, second], reward_weights=[2.0, 0.5])
    episodes, metrics, *_ = trainer.rollouts.collect(0, 0.0, trainer.state)
    assert episodes.scores.tolist() == [7.0, 2.0] * 8
    assert metrics["rewards/first"] == 1.0
    assert metrics["rewards/second"] == 10.0


def test_reward_functions_get_every_column_and_can_log(tmp_path):
    seen = {}

    def reward(prompts, completions, completion_ids, answer, log_metric, **columns):
        seen.update(prompts=prompts, answer=answer, ids=completion_ids, columns=set(columns))
        log_metric("answers", 3.0)
        return [0.5] * len(prompts)

    rows = [{"prompt": row["prompt"], "answer": row["prompt"].upper()} for row in PROMPTS]
    trainer = make_trainer(tmp_path, reward=reward, train=rows)
    trainer.train()
    assert seen["answer"] == [prompt.upper() for prompt in seen["prompts"]]
    assert all(ids[-1] == 1 or len(ids) == 6 for ids in seen["ids"]) and any(ids[-1] == 1 for ids in seen["ids"])
    assert seen["columns"] == {"trainer_state", "log_extra"}
    assert logged(trainer, "answers")[0] == 3.0


def test_messages_are_rendered_by_the_chat_template(tmp_path):
    seen = []

    def reward(prompts, completions, **columns):
        seen.append((prompts, completions))
        return [0.0] * len(prompts)

    tokenizer = make_tokenizer()
    tokenizer.chat_template = "{{ bos_token }} {{ messages[0]['content'] }}{% if add_generation_prompt %} h{% endif %}"
    rows = [{"prompt": [{"role": "user", "content": "a b"}]}]
    trainer = PPOTrainer(make_policy(), reward, make_args(tmp_path), rows, processing_class=tokenizer)
    trainer.train()
    prompts, completions = seen[0]
    assert prompts[0] == rows[0]["prompt"]
    assert completions[0][0]["role"] == "assistant"
    assert tokenizer.convert_ids_to_tokens(trainer.episodes.sequences[0][:4]) == ["<bos>", "a", "b", "h"]


def test_empty_and_long_prompts_are_left_out(tmp_path, caplog):
    rows = [{"prompt": ""}, {"prompt": "a " * 70}, {"prompt": "a b"}]
    trainer = make_trainer(tmp_path, train=rows)
    assert len(trainer.rollouts.prompts) == 1
    trainer.train()
    assert len(make_trainer(tmp_path, train=[*rows, {"prompt": "a"}], max_prompt_length=1).rollouts.prompts) == 1
    with pytest.raises(HFDistillError, match="1 are empty and 1 longer than 58 tokens"):
        make_trainer(tmp_path, train=rows[:2])
    with pytest.raises(HFDistillError, match="train_dataset is empty"):
        make_trainer(tmp_path, train=[])
    with pytest.raises(HFDistillError, match="'prompt', did you mean 'promt'"):
        make_trainer(tmp_path, train=[{"promt": "a"}])


def test_diverged_weights_are_said_to_be(tmp_path):
    policy = make_policy()
    trainer = make_trainer(tmp_path, policy=policy)
    with torch.no_grad():
        trainer.model.value_model.score.weight.fill_(float("nan"))
    with pytest.raises(HFDistillError, match="weights have diverged"):
        trainer.train()


@pytest.mark.parametrize(
    "options,message",
    [
        ({"kl_in": "rewards"}, "did you mean 'reward'"),
        ({"kl_estimator": "k2"}, "unknown value of kl_estimator"),
        ({"value_backbone": "share"}, "did you mean 'shared'"),
        ({"gradient_accumulation_steps": 2}, "set rollout_batch_size"),
        ({"num_mini_batches": 99}, "raise rollout_batch_size"),
        ({"temperature": 0.0}, "must be above 0"),
        ({"num_generations": 3}, "rollout_batch_size is 16, no multiple of num_generations, 3"),
        ({"num_ppo_epochs": 0}, "num_ppo_epochs is 0: it must be positive"),
        ({"kl_in": "loss", "kl_target": 1.0}, "kl_target"),
        ({"early_stopping_patience": 2}, "early_stopping_patience is 2, but nothing is evaluated"),
        ({"num_processes": 2}, "but 1 take part"),
        ({"kl_in": "loss", "offload_ref_model": True}, "there is no reference model"),
    ],
    ids=str,
)
def test_options_that_make_no_sense(tmp_path, options, message):
    with pytest.raises(HFDistillError, match=message):
        make_trainer(tmp_path, **options)


def test_the_best_checkpoint_is_chosen_by_a_figure_that_there_is(tmp_path):
    options = {"eval_strategy": "steps", "save_strategy": "steps", "load_best_model_at_end": True}
    with pytest.raises(HFDistillError, match="'accuracy', and validation gives reward, mean_length, finished: set it"):
        make_trainer(tmp_path, evaluate=PROMPTS, **options)
    with pytest.raises(HFDistillError, match="validation gives hard_reward"):
        make_trainer(tmp_path, evaluate={"hard": PROMPTS}, metric_for_best_model="reward", **options)
    make_trainer(tmp_path, evaluate=PROMPTS, metric_for_best_model="eval_reward", **options)
