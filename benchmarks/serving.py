"""Requests a second of `hfdistill serve`, beside `transformers serve --continuous-batching`.

    OMP_NUM_THREADS=1 python benchmarks/serving.py
    OMP_NUM_THREADS=1 python benchmarks/serving.py --shared 900 --dtype float32 --at_once 8 64

`--shared` puts so many words in front of every prompt, as worked examples stand there; then `hfdistill serve` is also
started without its memory for what prompts share. `--model` serves a model of your own instead, asked in English.

The same model with random weights, the same requests to `/v1/completions` from the same client, one server after the
other, for each dtype and number of clients; the best round counts. `cpu_ms` is what a request costs a server in all of
its processes, which a busy machine changes less. `transformers serve` needs the package openai; without it, it is left
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
import psutil


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
        max_position_embeddings=2048,
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
def running(command: list[str], url: str, log: Path) -> Iterator[subprocess.Popen]:
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
        yield process
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def cpu_seconds(process: subprocess.Popen) -> float:
    """What a process and its children have used."""
    parent = psutil.Process(process.pid)
    times = [member.cpu_times() for member in (parent, *parent.children(recursive=True))]
    return sum(time.user + time.system for time in times)


async def ask(url: str, model: str, prompts: list[str], at_once: int, limit: int, stream: bool) -> tuple[float, int]:
    """Seconds for all requests, and the tokens that came."""
    waiting, tokens = iter(prompts), 0
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=600)) as session:

        async def client() -> None:
            nonlocal tokens
            for prompt in waiting:
                body = {"model": model, "prompt": prompt, "max_tokens": limit, "temperature": 1.0, "stream": stream}
                async with session.post(f"{url}/v1/completions", json=body) as response:
                    answer = await response.read()
                if response.status != 200:
                    raise RuntimeError(f"{url} answered {response.status}: {answer!r}")
                # A stream has an event a token, one for the end, and [DONE].
                tokens += answer.count(b"data:") - 2 if stream else json.loads(answer)["usage"]["completion_tokens"]

        start = time.perf_counter()
        await asyncio.gather(*(client() for _ in range(at_once)))
        return time.perf_counter() - start, tokens


def commands(folder: Path, dtype: str, shared: int) -> dict[str, list[str]]:
    """How each server is started."""
    ours = [sys.executable, "-m", "hfdistill", "serve", str(folder), "--dtype", dtype]
    own = {"hfdistill serve": ours}
    if shared:
        own = {"hfdistill serve, nothing kept": [*ours, "--prefix_cache_mb", "0"], **own}
    peer = shutil.which("transformers", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    if importlib.util.find_spec("openai") is None or peer is None:
        print(json.dumps({"server": "transformers serve", "left_out": "the package openai is not installed"}))
        return own
    # Without these bounds it takes most of the memory for its cache.
    bounds = ["--cb-num-blocks", "512", "--cb-max-batch-tokens", "512"]
    theirs = [peer, "serve", str(folder), "--dtype", dtype, "--continuous-batching", *bounds]
    return {"transformers serve": theirs, **own}


def main() -> None:
    """Measures, and prints one JSON line a server, dtype and number of clients."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layers", type=int, default=3)
    parser.add_argument("--hidden", type=int, default=96)
    parser.add_argument("--requests", type=int, default=256)
    parser.add_argument("--at_once", type=int, nargs="+", default=[8, 64, 128])
    parser.add_argument("--dtype", nargs="+", default=["float32", "float64"])
    parser.add_argument("--max_new_tokens", type=int, default=40)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--shared", type=int, default=0, help="words that every prompt begins with")
    parser.add_argument("--model", type=Path, help="a folder, instead of a random model")
    parser.add_argument("--stream", action="store_true", help="answers token by token")
    args = parser.parse_args()
    rng = random.Random(0)
    words = __doc__.split() if args.model else WORDS[4:]
    shared = rng.choices(words, k=args.shared)
    prompts = [" ".join([*shared, *rng.choices(words, k=rng.randint(15, 35))]) for _ in range(args.requests)]
    with tempfile.TemporaryDirectory() as temporary:
        folder = args.model or Path(temporary) / "model"
        if not args.model:
            make_model(folder, args.layers, args.hidden)
        for dtype in args.dtype:
            base: dict[int, float] = {}
            for name, command in commands(folder, dtype, args.shared).items():
                url = f"http://127.0.0.1:{(port := free_port())}"
                options = ["--host", "127.0.0.1", "--port", str(port)]
                with running([*command, *options], url, Path(temporary) / "log") as process:
                    asyncio.run(ask(url, str(folder), prompts[:8], 8, 4, args.stream))
                    for at_once in args.at_once:
                        used = cpu_seconds(process)
                        asked = (url, str(folder), prompts, at_once, args.max_new_tokens, args.stream)
                        seconds, tokens = min(asyncio.run(ask(*asked)) for _ in range(args.rounds))
                        used = cpu_seconds(process) - used
                        rate = args.requests / seconds
                        line = {
                            "server": name,
                            "dtype": dtype,
                            "at_once": at_once,
                            "requests_per_s": round(rate, 1),
                            "times": round(rate / base.setdefault(at_once, rate), 1),
                            "tokens_per_s": round(tokens / seconds),
                            "cpu_ms": round(1000 * used / args.requests / args.rounds, 2),
                        }
                        print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
