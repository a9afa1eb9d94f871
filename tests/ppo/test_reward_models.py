"""Reward models: which tokens they read, and where they say their score."""

import pytest
import torch
from datasets import Dataset
from ppo_toy import WORDS, copy_reward, logged, make_policy, make_tokenizer, make_trainer
from ppo_toy import make_value_model as make_reward_model
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import BertConfig, BertForSequenceClassification, PreTrainedTokenizerFast

from hfdistill.encoding import Encoder
from hfdistill.errors import HFDistillError
from hfdistill.ppo.reward_models import ModelReward
from hfdistill.reward.model import prepare_reward_model, score_sequences


# As the policy's words, with other ids, and one that it does not know.
OTHER_WORDS = ["<pad>", "<end>", "<start>", "<unk>", "z", *reversed("abcdefgh")]
TEMPLATE = "{% for message in messages %}{{ message['content'] }} <end> {% endfor %}z"


def other_tokenizer(pad="<pad>"):
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(OTHER_WORDS)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token=pad, eos_token="<end>", unk_token="<unk>")


def ids(text, words=OTHER_WORDS):
    return [words.index(word) for word in text.split()]


def expected(model, sequence):
    """What the model itself says about one sequence: its pooling finds the token."""
    with torch.no_grad():
        return type(model).forward(model, torch.tensor([sequence])).logits.item()


def test_another_vocabulary_reads_text(tmp_path):
    model = make_reward_model(vocab_size=len(OTHER_WORDS))
    reward = ModelReward(model, other_tokenizer(), Encoder(make_tokenizer()), make_policy())
    assert not reward.knows_policy_tokens
    said = reward(["a b ", "c "], ["d", "e f"], [[7, 1], [8, 9]])
    assert said == pytest.approx([expected(model, ids("a b d <end>")), expected(model, ids("c e f"))], abs=1e-5)


def test_messages_are_laid_out_by_the_reward_models_own_template(tmp_path):
    model = make_reward_model(vocab_size=len(OTHER_WORDS))
    tokenizer = other_tokenizer()
    tokenizer.chat_template = TEMPLATE
    reward = ModelReward(model, tokenizer, Encoder(make_tokenizer()), make_policy())
    said = reward([[{"role": "user", "content": "a b"}]], [[{"role": "assistant", "content": "d"}]], [[7, 1]])
    assert said == pytest.approx([expected(model, ids("a b <end> d <end> z"))], abs=1e-5)


def test_the_same_vocabulary_reads_what_was_sampled(tmp_path):
    model = make_reward_model()
    reward = ModelReward(model, make_tokenizer(), Encoder(make_tokenizer()), make_policy())
    assert reward.knows_policy_tokens
    # A special token in the middle is one that decoding drops.
    said = reward(["a b"], ["c"], [[2, 6, 1]])
    assert said == pytest.approx([expected(model, [4, 5, 2, 6, 1])], abs=1e-5)


def test_a_model_that_pads_with_its_end_token_is_read_in_front_of_it(tmp_path):
    model = make_reward_model(vocab_size=len(OTHER_WORDS))
    model.config.pad_token_id = 1
    reward = ModelReward(model, other_tokenizer("<end>"), Encoder(make_tokenizer()), make_policy())
    said = reward(["a"], [" b"], [[5, 1]])
    assert said == pytest.approx([expected(model, ids("a b"))], abs=1e-5)
    assert said == pytest.approx([expected(model, ids("a b <end>"))], abs=1e-5)


def test_a_reward_model_of_trl_by_its_path(tmp_path):
    from trl import RewardConfig, RewardTrainer

    pairs = Dataset.from_list([{"chosen": f"{a} b", "rejected": f"{a} c"} for a in "abcdefgh"])
    config = RewardConfig(
        str(tmp_path), use_cpu=True, bf16=False, max_steps=2, report_to="none", save_strategy="no", disable_tqdm=True
    )
    model = make_reward_model(vocab_size=len(OTHER_WORDS))
    RewardTrainer(model, config, train_dataset=pairs, processing_class=other_tokenizer()).save_model(tmp_path / "rm")
    trainer = make_trainer(tmp_path, reward=[str(tmp_path / "rm"), copy_reward], num_ppo_epochs=1, num_mini_batches=1)
    (reward,) = trainer.rollouts.rewards.models
    assert reward.tokenizer.get_vocab() == other_tokenizer().get_vocab()
    # The value model reads the policy's tokens, and cannot start from this one.
    assert trainer.model.value_model.config.vocab_size == len(WORDS)
    trainer.train()
    assert len(logged(trainer, "rewards/rm")) == 2


def test_a_tokenizer_for_each_reward_model(tmp_path):
    model = make_reward_model(vocab_size=len(OTHER_WORDS))
    options = {"reward_processing_classes": [None, other_tokenizer()]}
    trainer = make_trainer(tmp_path, reward=[copy_reward, model], trainer_kwargs=options)
    assert trainer.rollouts.rewards.models[0].tokenizer.eos_token == "<end>"
    with pytest.raises(HFDistillError, match="reward_processing_classes has 1 entries for 2 reward functions"):
        make_trainer(
            tmp_path, reward=[copy_reward, model], trainer_kwargs={"reward_processing_classes": other_tokenizer()}
        )
    with pytest.raises(HFDistillError, match="knows 13 tokens and the policy 12"):
        make_trainer(tmp_path, reward=model)


def test_no_reward_model(tmp_path):
    bert = BertForSequenceClassification(
        BertConfig(
            vocab_size=12, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8, num_labels=1
        )
    )
    with pytest.raises(HFDistillError, match="is a BertForSequenceClassification: it must be the sequence classifier"):
        make_trainer(tmp_path, reward=bert)


def test_a_reward_model_computes_in_bf16_where_training_does():
    reward, sequences = prepare_reward_model(make_reward_model()), [[2, 4, 5, 6], [2, 7, 8]]
    exact = score_sequences(reward, sequences, 0)
    near = score_sequences(reward, sequences, 0, bf16=True)
    torch.testing.assert_close(near, exact, atol=0.02, rtol=0.02)
    assert not torch.equal(near, exact)


def test_a_larger_reward_model_with_an_ensemble_is_where_the_value_begins(tmp_path):
    model = prepare_reward_model(make_reward_model(hidden_size=48), torch.randn(3, 48))
    trainer = make_trainer(tmp_path, reward=model, save_strategy="steps", save_steps=4)
    value = trainer.model.value_model
    assert torch.equal(value.score.weight, model.score.weight) and value is not model
    trainer.train()
    assert not torch.equal(value.score.weight, model.score.weight)
    resumed = make_trainer(tmp_path, reward=model, total_episodes=48)
    resumed.train(resume_from_checkpoint=True)
    assert resumed.state.global_step == 12
