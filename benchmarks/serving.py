"""
Requests a second of `hfdistill serve`, beside `transformers serve --continuous-batching`.

    OMP_NUM_THREADS=1 python benchmarks/serving.py

The same model with random weights, the same requests to `/v1/completions` from the same client, one server after the
other, in rounds; the best round of each counts. `transformers serve` needs the package openai; without it, it is left
out and the reason is printed.
"""

import argparse
import asyncio
import contextlib
import importlib.util
import json
import os
import random
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import aiohttp


WORDS = ["<pad>", "<s>", "</s>", "<unk>", *(f"word{number}" for number in range(96))]
START_SECONDS = 600


def make_model(folder: Path, layers: int, hidden: int) -> None:
    """A Llama with random weights and a tokenizer of whole words."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(WORDS),
        hidden_size=hidden,
        intermediate_size=hidden * 8 // 3,
        num_hidden_layers=layers,
        num_attention_heads=4,
        max_position_embeddings=512,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=0,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer = Tokenizer(models.WordLevel({word: index for index, word in enumerate(WORDS)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", bos_token="<s>", eos_token="</s>", unk_token="<unk>"
    ).save_pretrained(folder)


def free_port() -> int:
    """A port that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextlib.contextmanager
def running(command: list[str], url: str, log: Path) -> Iterator[None]:
    """A server, from its first answer to the end of the context."""
    with log.open("w") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, start_new_session=True)
    try:
        deadline = time.monotonic() + START_SECONDS
        while True:
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{command[0]} did not start:\n{log.read_text()[-2000:]}")
            try:
                urllib.request.urlopen(f"{url}/health", timeout=5).close()
                break
            except (urllib.error.URLError, ConnectionError, TimeoutError):
                time.sleep(0.2)
        yield
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


async def ask(url: str, model: str, prompts: list[str], at_once: int, limit: int) -> tuple[float, int]:
    """Seconds for all requests, and the tokens that came."""
    waiting, tokens = iter(prompts), 0
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=600)) as session:

        async def client() -> None:
            nonlocal tokens
            for prompt in waiting:
                body = {"model": model, "prompt": prompt, "max_tokens": limit, "temperature": 1.0}
                async with session.post(f"{url}/v1/completions", json=body) as response:
                    answer = await response.json()
                    if response.status != 200:
                        raise RuntimeError(f"{url} answered {response.status}: {answer}")
                    tokens += answer["usage"]["completion_tokens"]

        start = time.perf_counter()
        await asyncio.gather(*(client() for _ in range(at_once)))
        return time.perf_counter() - start, tokens


def main() -> None:
    """Measures, and prints one JSON line a server."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layers", type=int, default=3)
    parser.add_argument("--hidden", type=int, default=96)
    parser.add_argument("--requests", type=int, default=256)
    parser.add_argument("--at-once", type=int, default=64)
    parser.add_argument("--max-new-tokens", type=int, default=40)
    parser.add_argument("--rounds", type=int, default=2)
    args = parser.parse_args()
    rng = random.Random(0)
    prompts = [" ".join(rng.choices(WORDS[4:], k=rng.randint(15, 35))) for _ in range(args.requests)]
    best: dict[str, tuple[float, float]] = {}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "model"
        make_model(folder, args.layers, args.hidden)
        commands = {
            "hfdistill serve": [sys.executable, "-m", "hfdistill", "serve", str(folder)],
            "hfdistill serve, float64": [
                sys.executable,
                "-m",
                "hfdistill",
                "serve",
                str(folder),
                "--dtype",
                "float64",
            ],
        }
        peer = shutil.which("transformers", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
        if importlib.util.find_spec("openai") is None or peer is None:
            print(json.dumps({"server": "transformers serve", "left_out": "the package openai is not installed"}))
        else:
            # Without these bounds it takes most of the memory for its cache.
            bounds = ["--cb-num-blocks", "2048", "--cb-max-batch-tokens", "512"]
            commands["transformers serve"] = [peer, "serve", str(folder), "--continuous-batching", *bounds]
        for name, command in commands.items():
            url = f"http://127.0.0.1:{(port := free_port())}"
            with running([*command, "--host", "127.0.0.1", "--port", str(port)], url, Path(temporary) / "log"):
                asyncio.run(ask(url, str(folder), prompts[:8], 8, 4))
                for _ in range(args.rounds):
                    seconds, tokens = asyncio.run(ask(url, str(folder), prompts, args.at_once, args.max_new_tokens))
                    rate = args.requests / seconds, tokens / seconds
                    best[name] = max(best.get(name, rate), rate)
    base = best.get("transformers serve", (None, None))[0]
    for name, (rate, tokens) in best.items():
        times = {} if base is None else {"times": round(rate / base, 1)}
        print(json.dumps({"server": name, "requests_per_s": round(rate, 1), "tokens_per_s": round(tokens), **times}))


if __name__ == "__main__":
    main()
