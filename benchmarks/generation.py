"""Tokens a CPU second of `hfdistill.generation.generate`, beside transformers' `generate` and `generate_batch`.

    OMP_NUM_THREADS=1 python benchmarks/generation.py

One model with random weights, the same prompts for all, sampling at temperature 1 until the end-of-sequence token or
the limit; every way in turn, several rounds, and the best round of each counts, since what else the machine does only
ever slows a round down.
"""

import argparse
import json
import random
import time

import torch
from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM

from hfdistill.generation import Sampling, generate


EOS, PAD = 2, 0


def make_model(layers: int, hidden: int, dtype: str) -> LlamaForCausalLM:
    """A Llama with random weights."""
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=100,
        hidden_size=hidden,
        intermediate_size=hidden * 8 // 3,
        num_hidden_layers=layers,
        num_attention_heads=4,
        max_position_embeddings=512,
        pad_token_id=PAD,
        eos_token_id=EOS,
    )
    return LlamaForCausalLM(config).to(getattr(torch, dtype)).eval()


def ours(model, prompts: list[list[int]], limit: int) -> int:
    """The evicting loop."""
    sampling = Sampling(max_new_tokens=limit, temperature=1.0, seed=0)
    return sum(len(row.token_ids) for row in generate(model, prompts, sampling, eos_token_id=EOS, pad_token_id=PAD))


def ours_through_the_model(model, prompts: list[list[int]], limit: int) -> int:
    """The same loop over the model's own forward, as it runs for what is no small Llama."""
    from unittest.mock import patch

    with patch("hfdistill.llama.is_small_llama", lambda model: False):
        return ours(model, prompts, limit)


@torch.no_grad()
def in_batches(model, prompts: list[list[int]], limit: int, size: int, order: bool) -> int:
    """`model.generate`, padded on the left."""
    if order:
        prompts = sorted(prompts, key=len)
    total = 0
    for start in range(0, len(prompts), size):
        batch = prompts[start : start + size]
        width = max(map(len, batch))
        tokens = torch.tensor([[PAD] * (width - len(prompt)) + prompt for prompt in batch])
        mask = torch.tensor([[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in batch])
        out = model.generate(
            tokens,
            attention_mask=mask,
            do_sample=True,
            top_k=0,
            max_new_tokens=limit,
            eos_token_id=EOS,
            pad_token_id=PAD,
        )
        for row in out[:, width:].tolist():
            total += row.index(EOS) if EOS in row else len(row)
    return total


@torch.no_grad()
def continuous(model, prompts: list[list[int]], limit: int) -> int:
    """`model.generate_batch`, transformers' continuous batching, with its memory bounded."""
    from transformers import ContinuousBatchingConfig

    config = GenerationConfig(
        do_sample=True, top_k=0, max_new_tokens=limit, eos_token_id=EOS, pad_token_id=PAD, use_cuda_graph=False
    )
    blocks = ContinuousBatchingConfig(num_blocks=2048, max_batch_tokens=512)
    attention = model.config._attn_implementation
    try:
        results = model.generate_batch(
            inputs=prompts, generation_config=config, continuous_batching_config=blocks, progress_bar=False
        )
    finally:
        model.set_attn_implementation(attention)
    rows = (result.generated_tokens for result in results.values())
    return sum(len(row) - (EOS in row) for row in rows)


def main() -> None:
    """Measures, and prints one JSON line a way."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layers", type=int, default=3)
    parser.add_argument("--hidden", type=int, default=96)
    parser.add_argument("--dtype", default="float32", choices=("float32", "float64"))
    parser.add_argument("--prompts", type=int, default=256)
    parser.add_argument("--max_new_tokens", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--without", nargs="*", default=[], help="ways to leave out")
    args = parser.parse_args()
    torch.set_num_threads(1)
    model = make_model(args.layers, args.hidden, args.dtype)
    rng = random.Random(0)
    prompts = [[rng.randrange(3, 100) for _ in range(rng.randint(10, 40))] for _ in range(args.prompts)]
    ways = {
        "hfdistill": lambda: ours(model, prompts, args.max_new_tokens),
        "hfdistill, model's own forward": lambda: ours_through_the_model(model, prompts, args.max_new_tokens),
        "generate, batches of 32": lambda: in_batches(model, prompts, args.max_new_tokens, 32, False),
        "generate, sorted, batches of 32": lambda: in_batches(model, prompts, args.max_new_tokens, 32, True),
        "generate, batches of 256": lambda: in_batches(model, prompts, args.max_new_tokens, 256, False),
        "generate_batch": lambda: continuous(model, prompts, args.max_new_tokens),
    }
    best: dict[str, float] = {}
    for _ in range(args.rounds):
        for name, way in ways.items():
            if name in args.without:
                continue
            start = time.process_time()
            tokens = way()
            best[name] = max(best.get(name, 0.0), tokens / (time.process_time() - start))
    base = best.get("generate, batches of 32")
    for name, rate in best.items():
        print(json.dumps({"way": name, "tokens_per_cpu_second": round(rate), "times": round(rate / base, 2)}))


if __name__ == "__main__":
    main()
