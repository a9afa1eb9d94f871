"""What bf16 gives on a CPU: a training pass and generation of a Llama in fp32, and under autocast by the passes
written out in `hfdistill.llama` and by the model's own forward.

    OMP_NUM_THREADS=1 python benchmarks/mixed_precision.py --layers 4 --hidden 256

CPU seconds, every way in turn, several rounds, and the best round of each counts.
"""

import argparse
import json
import random
import time
from collections.abc import Callable
from contextlib import ExitStack
from unittest.mock import patch

import torch
from generation import EOS, PAD, make_model

from hfdistill.generation import Sampling, generate
from hfdistill.llama import Passage, read_logits


WAYS = {
    "fp32": (False, False),
    "bf16": (True, False),
    "bf16, model's own forward": (True, True),
}


def train(model, rows: list[list[int]], own: bool, mixed: bool) -> None:
    """Log-probabilities of the second half of each row, and their gradients."""

    def log_probs(logits: torch.Tensor, ids: torch.Tensor) -> tuple[torch.Tensor]:
        return (logits.float().log_softmax(-1).gather(-1, ids[:, None])[:, 0],)

    with ExitStack() as stack:
        if own:
            stack.enter_context(patch("hfdistill.llama.is_plain_llama", lambda *args: False))
        with torch.autocast("cpu", torch.bfloat16, enabled=mixed):
            passage = Passage.of_responses(rows, [len(row) // 2 for row in rows], PAD, torch.device("cpu"))
            (found,), _ = read_logits(model, passage, log_probs)
        found.sum().backward()
    model.zero_grad()


def sample(model, rows: list[list[int]], own: bool, mixed: bool) -> None:
    """A response to the first half of each row."""
    with ExitStack() as stack:
        if own:
            stack.enter_context(patch("hfdistill.llama.is_small_llama", lambda model: False))
        stack.enter_context(torch.autocast("cpu", torch.bfloat16, enabled=mixed))
        prompts = [row[: len(row) // 2] for row in rows]
        generate(model, prompts, Sampling(24, 1.0, seed=0), eos_token_id=EOS, pad_token_id=PAD)


def main() -> None:
    """Measures, and prints one JSON line a way."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layers", type=int, default=2)
    parser.add_argument("--hidden", type=int, default=64)
    parser.add_argument("--rows", type=int, default=64)
    parser.add_argument("--longest", type=int, default=50, help="tokens of the longest row; the shortest has half")
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    torch.set_num_threads(1)
    model = make_model(args.layers, args.hidden, "float32")
    rng = random.Random(0)
    rows = [
        [rng.randrange(3, 100) for _ in range(rng.randint(args.longest // 2, args.longest))] for _ in range(args.rows)
    ]
    tasks: dict[str, Callable] = {"training pass": train, "generation": sample}
    best: dict[tuple[str, str], float] = {}
    for _ in range(args.rounds):
        for task, run in tasks.items():
            for way, (mixed, own) in WAYS.items():
                start = time.process_time()
                run(model, rows, own, mixed)
                best[task, way] = min(best.get((task, way), float("inf")), time.process_time() - start)
    for (task, way), seconds in best.items():
        gain = best[task, "fp32"] / seconds
        print(json.dumps({"task": task, "way": way, "cpu_ms": round(1000 * seconds, 1), "times": round(gain, 2)}))


if __name__ == "__main__":
    main()
