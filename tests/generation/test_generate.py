import random

import pytest
import torch
from transformers import (
    BloomConfig,
    BloomForCausalLM,
    Gemma3ForCausalLM,
    Gemma3TextConfig,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    MambaConfig,
    MambaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
    Qwen3NextConfig,
    Qwen3NextForCausalLM,
)

from hfdistill.errors import HFDistillError
from hfdistill.generation import DecodeLoop, Row, Sampling, generate, row_seeds


PAD, EOS = 0, 2
SHAPE = {
    "vocab_size": 60,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 256,
}
FAMILIES = {
    "llama": lambda: LlamaForCausalLM(LlamaConfig(**SHAPE)),
    "qwen3": lambda: Qwen3ForCausalLM(Qwen3Config(**SHAPE)),
    "mistral with a window": lambda: MistralForCausalLM(MistralConfig(**SHAPE, sliding_window=7)),
    "gemma3, windows and full": lambda: Gemma3ForCausalLM(
        Gemma3TextConfig(
            **SHAPE,
            sliding_window=6,
            layer_types=["sliding_attention", "full_attention", "sliding_attention"],
        )
    ),
    "gpt2": lambda: GPT2LMHeadModel(GPT2Config(vocab_size=60, n_embd=32, n_layer=2, n_head=4, n_positions=128)),
}


def make(family="llama", seed=0):
    torch.manual_seed(seed)
    model = FAMILIES[family]().double().eval()
    # Untrained models of this size repeat one token; wider logits make them say something.
    model.get_output_embeddings().weight.data *= 12
    return model


def prompts(count, seed=0, longest=24):
    rng = random.Random(seed)
    return [[rng.randrange(3, 60) for _ in range(rng.randint(1, longest))] for _ in range(count)]


def settings(count, seed=0):
    rng = random.Random(seed)
    return [
        Sampling(
            max_new_tokens=rng.randint(1, 30),
            temperature=rng.choice([0, 0.4, 1.0]),
            top_k=rng.choice([None, None, 10]),
            top_p=rng.choice([None, None, 0.9]),
            typical_p=rng.choice([None, None, 0.8]),
            repetition_penalty=rng.choice([None, None, 1.2]),
            frequency_penalty=rng.choice([None, None, 0.5]),
            seed=index,
        )
        for index in range(count)
    ]


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("family", FAMILIES)
def test_greedy_equals_transformers(family, attention):
    model = make(family)
    model.set_attn_implementation(attention)
    questions = prompts(12)
    ours = generate(model, questions, Sampling(max_new_tokens=20), eos_token_id=EOS, pad_token_id=PAD, batch_size=5)
    for question, response in zip(questions, ours, strict=True):
        theirs = model.generate(
            torch.tensor([question]),
            attention_mask=torch.ones(1, len(question), dtype=torch.long),
            max_new_tokens=20,
            do_sample=False,
            eos_token_id=EOS,
            pad_token_id=PAD,
        )[0, len(question) :].tolist()
        assert response.finish_reason == ("eos_token" if theirs[-1] == EOS else "length")
        assert response.token_ids == [token for token in theirs if token != EOS]
    assert len({tuple(response.token_ids) for response in ours}) > 6


@pytest.mark.parametrize("family", FAMILIES)
def test_the_same_seed_gives_the_same_text_in_any_batch(family):
    model = make(family)
    questions = prompts(40)
    questions[3] = questions[4] = questions[5]
    wanted = settings(40)
    together = generate(model, questions, wanted, eos_token_id=[EOS, 7], pad_token_id=PAD, batch_size=16)
    alone = [
        generate(model, [question], [setting], eos_token_id=[EOS, 7], pad_token_id=PAD)[0]
        for question, setting in zip(questions, wanted, strict=True)
    ]
    assert together == alone
    shuffled = list(range(40))
    random.Random(1).shuffle(shuffled)
    again = generate(
        model,
        [questions[index] for index in shuffled],
        [wanted[index] for index in shuffled],
        eos_token_id=[EOS, 7],
        pad_token_id=PAD,
        batch_size=9,
    )
    assert again == [together[index] for index in shuffled]


def test_one_seed_for_all_rows_gives_each_its_own_and_can_be_had_alone():
    model = make()
    questions = [[5, 6, 7]] * 20
    sampling = Sampling(max_new_tokens=12, temperature=1.0, seed=11)
    rows = generate(model, questions, sampling, eos_token_id=EOS, pad_token_id=PAD)
    assert rows == generate(model, questions, sampling, eos_token_id=EOS, pad_token_id=PAD, batch_size=3)
    assert len({tuple(row.token_ids) for row in rows}) > 15
    single = Sampling(max_new_tokens=12, temperature=1.0, seed=row_seeds(11, 20)[13])
    assert generate(model, questions[:1], [single], eos_token_id=EOS, pad_token_id=PAD)[0] == rows[13]


def test_without_a_seed_the_global_generator_rules():
    model = make()
    sampling = Sampling(max_new_tokens=12, temperature=1.0)
    runs = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        runs.append(generate(model, prompts(5), sampling, eos_token_id=EOS, pad_token_id=PAD))
    assert runs[0] == runs[1] != runs[2]


def test_generation_config_dropout_and_mode_have_no_say():
    model = make()
    plain = generate(model, prompts(6), Sampling(max_new_tokens=10), eos_token_id=EOS, pad_token_id=PAD)
    model.config.attention_dropout = 0.5
    for layer in model.model.layers:
        layer.self_attn.attention_dropout = 0.5
    model.generation_config.update(repetition_penalty=3.0, temperature=0.1, top_k=1, do_sample=True)
    model.train()
    model.model.norm.eval()
    again = generate(model, prompts(6), Sampling(max_new_tokens=10), eos_token_id=EOS, pad_token_id=PAD)
    assert again == plain
    assert model.training and model.model.layers[0].training and not model.model.norm.training
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_training_after_generation_still_works():
    model = make()
    generate(model, prompts(4), Sampling(max_new_tokens=5), eos_token_id=EOS, pad_token_id=PAD)
    model.train()
    tokens = torch.tensor([[3, 4, 5, 6]])
    model(input_ids=tokens, labels=tokens).loss.backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_stop_is_asked_with_the_response_and_ends_it_there():
    model = make()
    sampling = Sampling(max_new_tokens=30)
    free = generate(model, prompts(8), sampling, eos_token_id=[], pad_token_id=PAD)
    stopped = generate(
        model, prompts(8), sampling, eos_token_id=[], pad_token_id=PAD, stop=lambda tokens: len(tokens) == 4
    )
    assert [row.token_ids for row in stopped] == [row.token_ids[:4] for row in free]
    assert {row.finish_reason for row in stopped} == {"stop_sequence"}


def test_empty_and_wrong_input():
    model = make()
    assert generate(model, [], Sampling(max_new_tokens=5), eos_token_id=EOS, pad_token_id=PAD) == []
    with pytest.raises(HFDistillError, match="no token at all"):
        generate(model, [[3], []], Sampling(max_new_tokens=5), eos_token_id=EOS, pad_token_id=PAD)
    with pytest.raises(HFDistillError, match="1 sampling settings for 2 prompts"):
        generate(model, [[3], [4]], [Sampling(max_new_tokens=5)], eos_token_id=EOS, pad_token_id=PAD)
    for wrong in ({"max_new_tokens": 0}, {"temperature": -1}, {"top_k": 0}, {"top_p": 0}, {"typical_p": 1.5}):
        with pytest.raises(HFDistillError):
            Sampling(**{"max_new_tokens": 5, **wrong})


@pytest.mark.parametrize(
    ("model", "named"),
    [
        (lambda: MambaForCausalLM(MambaConfig(vocab_size=20, hidden_size=16, num_hidden_layers=1)), "mamba"),
        (
            lambda: Qwen3NextForCausalLM(
                Qwen3NextConfig(**SHAPE, layer_types=["linear_attention"] * 3, num_experts=2)
            ),
            "qwen3_next has layers of type linear_attention",
        ),
        (lambda: BloomForCausalLM(BloomConfig(vocab_size=20, hidden_size=16, n_layer=1, n_head=2)), "no position_ids"),
    ],
    ids=["state space", "linear attention", "no positions"],
)
def test_a_model_that_remembers_in_another_way_is_refused_by_name(model, named):
    with pytest.raises(HFDistillError, match=named):
        generate(model(), [[3]], Sampling(max_new_tokens=2), eos_token_id=EOS, pad_token_id=PAD)


def test_rows_join_and_are_cancelled_without_a_trace_on_the_others():
    model = make()
    questions, wanted = prompts(12, longest=60), settings(12)
    alone = generate(model, questions, wanted, eos_token_id=EOS, pad_token_id=PAD)
    loop = DecodeLoop(model, eos_token_id=EOS, pad_token_id=PAD, max_rows=8)
    rows = [Row(question, setting) for question, setting in zip(questions, wanted, strict=True)]
    victims = [Row([9] * 40, Sampling(max_new_tokens=200, temperature=1.0, seed=1)) for _ in range(3)]
    waiting, steps = list(rows), 0
    with torch.inference_mode():
        loop.add(victims[:2])
        while waiting or loop.rows:
            if waiting and loop.free:
                loop.add([waiting.pop(0)])
            if steps == 3:
                loop.cancel([victims[0]])
                loop.add([victims[2]])
            if steps == 9:
                loop.cancel(victims)
            loop.step()
            steps += 1
    assert [row.generated() for row in rows] == alone
    assert victims[0].finish_reason is None and len(victims[0].token_ids) == 3
