"""A policy of a few thousand parameters, a tokenizer of one token a word, and a task whose best reward is known."""

import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, LlamaForSequenceClassification, PreTrainedTokenizerFast


torch.set_num_threads(1)

WORDS = ["<pad>", "<eos>", "<bos>", "<unk>", *"abcdefgh"]


def make_tokenizer():
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", eos_token="<eos>", bos_token="<bos>", unk_token="<unk>"
    )


def make_config(**kwargs):
    options = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    options |= {"vocab_size": len(WORDS), "max_position_embeddings": 64}
    return LlamaConfig(pad_token_id=0, eos_token_id=1, bos_token_id=2, **{**options, **kwargs})


def make_policy(seed=0, **kwargs):
    torch.manual_seed(seed)
    return LlamaForCausalLM(make_config(**kwargs))


def make_value_model(seed=1, **kwargs):
    torch.manual_seed(seed)
    return LlamaForSequenceClassification(make_config(num_labels=1, **kwargs))


def copy_reward(prompts, completions, **columns):
    """One point for each of the prompt's letters that stands at its place in the completion, up to 1."""
    scores = []
    for prompt, completion in zip(prompts, completions, strict=True):
        wanted, got = prompt.split(), completion.split()
        right = sum(a == b for a, b in zip(wanted, got, strict=False))
        scores.append((right - max(len(got) - len(wanted), 0)) / len(wanted))
    return scores


PROMPTS = [{"prompt": f"{a} {b}"} for a in "abcd" for b in "efgh"]


def make_args(folder, **kwargs):
    """Options of a short run that logs every step."""
    from hfdistill.ppo import PPOConfig

    options = {
        "per_device_train_batch_size": 16,
        "rollout_batch_size": 16,
        "num_ppo_epochs": 2,
        "num_mini_batches": 2,
        "total_episodes": 32,
        "learning_rate": 1e-3,
        "max_completion_length": 6,
        "kl_coef": 0.05,
        "logging_steps": 1,
        "save_strategy": "no",
        "use_cpu": True,
        "disable_tqdm": True,
    }
    return PPOConfig(output_dir=str(folder), **{**options, **kwargs})


def make_trainer(folder, reward=copy_reward, policy=None, train=PROMPTS, evaluate=None, trainer_kwargs=None, **kwargs):
    """A trainer on the copying task."""
    from hfdistill.ppo import PPOTrainer

    return PPOTrainer(
        policy or make_policy(),
        reward,
        make_args(folder, **kwargs),
        train,
        evaluate,
        processing_class=make_tokenizer(),
        **(trainer_kwargs or {}),
    )


def logged(trainer, name):
    """Every value that was logged under a name."""
    return [entry[name] for entry in trainer.state.log_history if name in entry]


def weights(module):
    return {name: value.detach().clone() for name, value in module.state_dict().items()}


def assert_same_weights(a, b, **tolerance):
    assert a.keys() == b.keys()
    for name in a:
        torch.testing.assert_close(a[name], b[name], msg=lambda text, name=name: f"{name}: {text}", **tolerance)
