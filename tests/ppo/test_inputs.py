"""The trainer as a user of TRL meets it: everything but model, reward and prompts is found by itself."""

import shutil

import pytest
import torch
from datasets import Dataset, DatasetDict, IterableDataset
from ppo_toy import (
    PROMPTS,
    assert_same_weights,
    copy_reward,
    logged,
    make_args,
    make_policy,
    make_tokenizer,
    make_trainer,
    make_value_model,
    weights,
)
from transformers import T5Config, T5ForConditionalGeneration
from trl import BEMACallback, LogCompletionsCallback, ModelConfig, RichProgressCallback, ScriptArguments, TrlParser

from hfdistill.errors import HFDistillError
from hfdistill.ppo import PPOConfig, PPOTrainer
from hfdistill.training.saving import last_checkpoint


CONVERSATIONS = Dataset.from_list(
    [{"prompt": [{"role": "user", "content": row["prompt"]}], "solution": r"$\frac13$"} for row in PROMPTS]
)


@pytest.fixture
def model(tmp_path):
    """The folder of a model in bf16, with the context that GRPO's quick start takes for granted."""
    folder = tmp_path / "tiny"
    make_policy(max_position_embeddings=1024).to(torch.bfloat16).save_pretrained(folder)
    tokenizer = make_tokenizer()
    tokenizer.chat_template = "{{ bos_token }} {% for message in messages %}{{ message['content'] }} {% endfor %}"
    tokenizer.save_pretrained(folder)
    return str(folder)


def test_trls_quick_start(model, tmp_path, monkeypatch):
    def reward_num_unique_letters(completions, **kwargs):
        """Reward function that rewards completions with more unique letters."""
        completion_contents = [completion[0]["content"] for completion in completions]
        return [float(len(set(content))) for content in completion_contents]

    monkeypatch.chdir(tmp_path)
    dataset = CONVERSATIONS.select(range(4))
    trainer = PPOTrainer(
        model=model,
        reward_funcs=reward_num_unique_letters,
        train_dataset=dataset,
    )
    assert {parameter.dtype for parameter in trainer.model.parameters()} == {torch.float32}
    assert trainer.args.output_dir == "tiny-PPO"
    assert trainer.processing_class.get_vocab() == make_tokenizer().get_vocab()
    trainer.args.max_steps = 1
    trainer.train()
    assert trainer.state.global_step == 1


def test_a_policy_in_half_precision_is_trained_in_float32(tmp_path, caplog):
    policy = make_policy().to(torch.bfloat16)
    with caplog.at_level("WARNING", "transformers"):
        trainer = make_trainer(
            tmp_path,
            policy=policy,
            trainer_kwargs={"value_model": make_value_model().to(torch.float16)},
            num_ppo_epochs=1,
            num_mini_batches=1,
            learning_rate=1e-5,
        )
    assert [line for line in caplog.messages if "trained in float32" in line] == [
        "the weights of the policy '' are torch.bfloat16, in which small steps are lost: they are trained in float32; "
        "bf16=True computes in bf16",
        "the weights of the value model '' are torch.float16, in which small steps are lost: they are trained in "
        "float32; bf16=True computes in bf16",
    ]
    before = weights(policy)
    trainer.train()
    after = weights(policy)
    matrices = [name for name, value in before.items() if value.dim() == 2 and "embed" not in name]
    assert {value.dtype for value in after.values()} == {torch.float32}
    assert all((before[name] != after[name]).float().mean() > 0.95 for name in matrices)
    assert logged(trainer, "objective/kl")[0] == pytest.approx(0, abs=1e-4)
    assert logged(trainer, "val/ratio")[0] == 1


def test_model_init_kwargs(model, tmp_path):
    args = make_args(tmp_path, model_init_kwargs='{"attn_implementation": "eager"}')
    assert PPOTrainer(model, copy_reward, args, PROMPTS).model.config._attn_implementation == "eager"
    with pytest.raises(HFDistillError, match="this one is loaded: leave them out"):
        make_trainer(tmp_path, model_init_kwargs={"attn_implementation": "eager"})


def test_a_model_that_cannot_be_used(model, tmp_path):
    with pytest.raises(HFDistillError, match="policy '.*nowhere' cannot be loaded"):
        PPOTrainer(str(tmp_path / "nowhere"), copy_reward, make_args(tmp_path), PROMPTS)
    with pytest.raises(HFDistillError, match="reward model '.*nowhere' cannot be loaded"):
        make_trainer(tmp_path, reward=str(tmp_path / "nowhere"))
    with pytest.raises(HFDistillError, match=r"reward model '.*tiny' lacks the weights of score.weight"):
        make_trainer(tmp_path, reward=model)
    with pytest.raises(HFDistillError, match="leaves none to prompts"):
        make_trainer(tmp_path, max_completion_length=64)
    config = T5Config(vocab_size=12, d_model=8, d_kv=4, d_ff=8, num_layers=1, num_heads=2, decoder_start_token_id=0)
    encoder_decoder = T5ForConditionalGeneration(config)
    with pytest.raises(HFDistillError, match="is an encoder-decoder \\(t5\\)"):
        make_trainer(tmp_path, policy=encoder_decoder)
    encoder_decoder.save_pretrained(tmp_path / "t5")
    with pytest.raises(HFDistillError, match="t5' cannot be loaded"):
        PPOTrainer(str(tmp_path / "t5"), copy_reward, make_args(tmp_path), PROMPTS)
    shutil.rmtree(tmp_path / "tiny")
    make_policy().save_pretrained(model)
    with pytest.raises(HFDistillError, match="no tokenizer is found at '.*tiny': give processing_class"):
        PPOTrainer(model, copy_reward, make_args(tmp_path), PROMPTS)


def test_what_is_no_tokenizer_and_no_config(tmp_path):
    from trl import GRPOConfig

    options = {"use_cpu": True, "bf16": False, "report_to": "none"}
    with pytest.raises(HFDistillError, match="args is a GRPOConfig: PPO's options are a hfdistill.ppo.PPOConfig"):
        PPOTrainer(make_policy(), copy_reward, GRPOConfig(str(tmp_path), **options), PROMPTS)
    with pytest.raises(HFDistillError, match="processing_class is a object: give a tokenizer"):
        PPOTrainer(make_policy(), copy_reward, make_args(tmp_path), PROMPTS, processing_class=object())


def test_trainings_in_one_process(tmp_path):
    options = {"total_episodes": 16, "num_ppo_epochs": 1, "num_mini_batches": 1, "lr_scheduler_type": "constant"}
    first, second = (make_trainer(tmp_path / name, **options) for name in "ab")
    first.train()
    second.train()
    assert_same_weights(weights(first.model), weights(second.model), atol=0, rtol=0)
    # Training on samples anew: the ratio is 1 again, which it is not on the episodes of the training before.
    second.train()
    assert logged(second, "val/ratio") == pytest.approx([1.0], abs=1e-6)
    assert logged(second, "policy/approxkl_avg") == [0.0]


def test_trls_callbacks(tmp_path):
    data = Dataset.from_list(PROMPTS)
    trainer = make_trainer(
        tmp_path,
        evaluate=data,
        trainer_kwargs={"callbacks": [RichProgressCallback(), BEMACallback(update_freq=1)]},
        eval_strategy="steps",
        eval_steps=4,
    )
    completions = LogCompletionsCallback(trainer, num_prompts=2)
    trainer.add_callback(completions)
    trainer.train()
    assert [row[0] for row in completions.table] == ["4", "4", "8", "8"]
    # The mean over the steps is a policy as any other.
    assert type(make_policy()).from_pretrained(tmp_path / "bema").config.vocab_size == 12


def test_trls_parser():
    parser = TrlParser((ScriptArguments, PPOConfig, ModelConfig))
    words = ["--model_name_or_path", "x", "--dataset_name", "y", "--kl_coef", "0.1", "--use_cpu"]
    _, args, model_args = parser.parse_args_and_config(words)
    assert (args.kl_coef, model_args.model_name_or_path) == (0.1, "x")


def numbered(rows):
    yield from ({"prompt": f"{'abcd'[i % 4]} {'efgh'[i // 4 % 4]}", "number": i} for i in range(rows))


def stream(folder, seen, total_episodes=32, rows=40):
    def reward(number, **columns):
        seen.append(number)
        return [float(i) for i in number]

    data = IterableDataset.from_generator(numbered, gen_kwargs={"rows": rows})
    options = {"num_ppo_epochs": 1, "num_mini_batches": 1, "save_strategy": "steps", "save_steps": 1}
    options["lr_scheduler_type"] = "constant"
    trainer = make_trainer(folder, reward=reward, train=data, total_episodes=total_episodes, **options)
    trainer.train(resume_from_checkpoint=last_checkpoint(folder))
    return trainer


def test_a_dataset_without_a_length_is_read_in_its_order(tmp_path):
    seen = []
    whole = stream(tmp_path / "whole", seen, 48)
    assert seen == [list(range(16)), list(range(16, 32)), [*range(32, 40), *range(8)]]
    # A resumed training goes on where the first one ended.
    again = []
    stream(tmp_path / "cut", again, 16)
    resumed = stream(tmp_path / "cut", again, 48)
    assert again == seen
    assert_same_weights(weights(resumed.model), weights(whole.model), atol=0, rtol=0)


def test_datasets_that_cannot_be_used(tmp_path):
    with pytest.raises(HFDistillError, match="PPO needs a train_dataset"):
        make_trainer(tmp_path, train=None)
    with pytest.raises(HFDistillError, match="is a generator, which cannot be read twice"):
        make_trainer(tmp_path, train=numbered(4))
    with pytest.raises(HFDistillError, match="has no length: say by total_episodes"):
        data = IterableDataset.from_generator(numbered, gen_kwargs={"rows": 4})
        make_trainer(tmp_path, train=data, total_episodes=None)
    with pytest.raises(HFDistillError, match="has the splits train, test: give one"):
        make_trainer(tmp_path, train=DatasetDict(train=CONVERSATIONS, test=CONVERSATIONS))
    with pytest.raises(HFDistillError, match=r"has the prompt \[?5"):
        make_trainer(tmp_path, train=[{"prompt": 5}])


@pytest.mark.parametrize("name", ["prompts", "completions", "completion_ids", "trainer_state", "log_extra"])
def test_a_column_does_not_take_the_place_of_an_argument(tmp_path, name):
    rows = [{**row, name: "from the dataset"} for row in PROMPTS]
    with pytest.raises(HFDistillError, match=f"train_dataset has a column '{name}'.*rename it"):
        make_trainer(tmp_path, train=rows)
    with pytest.raises(HFDistillError, match=f"eval_dataset has a column '{name}'"):
        make_trainer(tmp_path, evaluate=rows).evaluate()


def test_datasets_by_name(tmp_path):
    data = Dataset.from_list(PROMPTS)
    easy = IterableDataset.from_generator(numbered, gen_kwargs={"rows": 3})
    trainer = make_trainer(
        tmp_path,
        train=DatasetDict(train=data),
        evaluate=DatasetDict(hard=data.select(range(2))) | {"easy": easy},
        trainer_kwargs={"eval_func": lambda prompts, **columns: [len(prompts) == 3] * len(prompts)},
        total_episodes=16,
        eval_strategy="steps",
        eval_steps=4,
        save_strategy="steps",
        save_steps=4,
        load_best_model_at_end=True,
        metric_for_best_model="hard_accuracy",
    )
    trainer.train()
    assert logged(trainer, "eval_easy_accuracy") == [1.0]
    assert logged(trainer, "eval_hard_accuracy") == [0.0]
    assert trainer.evaluate(data.select(range(3)))["eval_accuracy"] == 1.0
    assert trainer.evaluate(data.select(range(2)))["eval_accuracy"] == 0.0
