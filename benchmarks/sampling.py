"""Keep many slow endpoints busy from one process: the sampler beside clients that people use for it.

    python benchmarks/sampling.py                    # 8 endpoints x 128 slots, 5 s a request, about 2 minutes
    python benchmarks/sampling.py --lm_eval /path/to/its/python --distilabel /path/to/its/python

The endpoints are stand-ins with a fixed latency, each in its own process, so that nothing but the client decides how
full they are. Every client runs in a process of its own, one after another, against the same endpoints:

    sampler        hfdistill's, with its journal on, on a plan of 500,000 requests of which it does what it can
    hub_client     huggingface_hub.AsyncInferenceClient with a semaphore an endpoint
    lm_eval        lm-evaluation-harness's API model, in its own environment (`lm_eval[api]` and torch)
    distilabel     its InferenceEndpointsLLM, in its own environment: distilabel 1.5.3 needs `huggingface_hub<1`,
                   `datasets<4` and requests, and has no newer version

The last two know one URL, so each gets one endpoint with as many slots as the others have in all.

At last, the sampler asks an endpoint that refuses what comes too often, and names the seconds to wait: how long that
takes beside the least that its limit allows, and how much was refused.

Slots full: share of all slots in use, as the endpoints count it, between two latencies after the start and the end;
requests/s follows from it. CPU and peak memory are those of the client's process.
"""

import argparse
import asyncio
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path


ROOT = Path(__file__).resolve().parents[1]
STAND_IN = ROOT / "tests" / "teacher" / "standin.py"
PROMPT = "Q: Natalia sold clips to {} of her friends in April, and then half as many in May. How many in all?\nA:"
SEPARATE = ("lm_eval", "distilabel")


@dataclass(frozen=True)
class Question:
    question_id: str
    question: str


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--endpoints", type=int, default=8)
    parser.add_argument("--slots", type=int, default=128, help="of each endpoint")
    parser.add_argument("--latency", type=float, default=5.0, help="seconds a request")
    parser.add_argument("--seconds", type=float, default=40.0, help="that each client is measured")
    parser.add_argument("--planned", type=int, default=500_000, help="requests in the sampler's plan")
    parser.add_argument("--clients", nargs="*", default=["sampler", "hub_client", *SEPARATE])
    parser.add_argument("--limited", type=int, default=1200, help="requests to an endpoint with a limit by rate, or 0")
    for name in SEPARATE:
        parser.add_argument(f"--{name}", help=f"Python of an environment that has {name}")
    parser.add_argument("--client", help=argparse.SUPPRESS)
    parser.add_argument("--urls", nargs="*", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.client:
        CLIENTS[args.client](args)
        return

    ideal = args.endpoints * args.slots / args.latency
    print(f"{args.endpoints} endpoints x {args.slots} slots, {args.latency:g} s a request: {ideal:.1f} a second")
    print(f"{'client':12} {'requests/s':>11} {'slots full':>11} {'CPU ms/request':>15} {'peak MB':>8}")
    for name in args.clients:
        python = vars(args).get(name) if name in SEPARATE else sys.executable
        if python is None:
            print(f"{name:12} skipped: no environment given, --{name} PYTHON")
            continue
        print(measure(name, python, args), flush=True)
    if args.limited:
        print(limited(args.limited))


def measure(name: str, python: str, args: argparse.Namespace) -> str:
    """Run one client against fresh endpoints; a row of the table."""
    count, slots = (1, args.endpoints * args.slots) if name in SEPARATE else (args.endpoints, args.slots)
    settings = {"latency": args.latency, "limit": slots, "words": 40}
    endpoints = [
        subprocess.Popen([sys.executable, STAND_IN, json.dumps(settings)], stdout=subprocess.PIPE, text=True)
        for _ in range(count)
    ]
    try:
        urls = [f"http://127.0.0.1:{endpoint.stdout.readline().strip()}" for endpoint in endpoints]
        client = subprocess.Popen(
            [
                *(python, __file__, "--client", name, "--planned", str(args.planned), "--slots", str(slots)),
                *("--seconds", str(args.seconds), "--latency", str(args.latency), "--urls", *urls),
            ],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(ROOT), "HF_HUB_DISABLE_TELEMETRY": "1"},
        )
        line = client.stdout.readline()
        if line != "started\n":
            client.wait()
            return f"{name:12} skipped: {line.strip() or 'it did not start'}"
        time.sleep(2 * args.latency)
        before = [counts(url) for url in urls]
        # Whole latencies, since answers come in waves.
        time.sleep(args.latency * ((args.seconds - 2 * args.latency - 1) // args.latency))
        after = [counts(url) for url in urls]
        used = json.loads(client.communicate(timeout=300)[0].splitlines()[-1])
    finally:
        for endpoint in endpoints:
            endpoint.kill()
            endpoint.wait()
    seconds = after[0]["at"] - before[0]["at"]
    busy = sum(b["busy_seconds"] - a["busy_seconds"] for a, b in zip(before, after, strict=True))
    # Each answer holds a slot for one latency; counted, they would come in waves that a window cuts.
    rate = busy / (seconds * args.latency)
    full = busy / (seconds * slots * count)
    per_request = 1000 * used["cpu"] / max(used["requests"], 1)
    return f"{name:12} {rate:11.1f} {full:11.1%} {per_request:15.3f} {used['peak_mb']:8.0f}"


def limited(planned: int, rate: float = 20.0) -> str:
    """Let the sampler finish a plan at an endpoint that takes so many requests a second, beyond a burst of as many."""
    settings = {"latency": 0.2, "limit": 128, "rate": rate, "retry_after": "1"}
    command = [sys.executable, STAND_IN, json.dumps(settings)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as endpoint:
        try:
            url = f"http://127.0.0.1:{endpoint.stdout.readline().strip()}"
            command = [sys.executable, __file__, "--client", "sampler", "--planned", str(planned), "--urls", url]
            environment = {**os.environ, "PYTHONPATH": str(ROOT)}
            with subprocess.Popen(
                [*command, "--seconds", "3600"], stdout=subprocess.PIPE, text=True, env=environment
            ) as client:
                client.stdout.readline()
                started = time.monotonic()
                client.stdout.readline()
            seconds, statuses = time.monotonic() - started, counts(url)["statuses"]
        finally:
            endpoint.kill()
    ideal = (statuses["200"] - rate) / rate
    refused = statuses.get("429", 0) / sum(statuses.values())
    return (
        f"limit of {rate:g} a second: {statuses['200']} requests in {seconds:.1f} s, ideal {ideal:.1f} s "
        f"({seconds / ideal:.2f} x), {refused:.1%} refused"
    )


def counts(url: str) -> dict:
    """What an endpoint has seen."""
    with urllib.request.urlopen(f"{url}/control", timeout=10) as response:
        return json.load(response)


def report(requests: int, cpu: float) -> None:
    """What the measuring process reads; CPU seconds are those of the whole client while it sampled."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"requests": requests, "cpu": cpu, "peak_mb": peak}), flush=True)


def sampler(args: argparse.Namespace) -> None:
    """hfdistill's sampler, interrupted when its time is over."""
    import uvloop

    from hfdistill.labels.config import LabelConfig
    from hfdistill.sections import TeacherConfig
    from hfdistill.teacher.budget import Budget
    from hfdistill.teacher.endpoints import Endpoint, same_model
    from hfdistill.teacher.journal import Journal
    from hfdistill.teacher.plan import Grid, Plan
    from hfdistill.teacher.protocols import Decoding
    from hfdistill.teacher.sampler import Sampler

    settings = LabelConfig()
    grid = Grid(settings.high_temperatures, settings.high_samples, settings.low_temperatures, settings.low_samples)
    questions = [Question(f"q{index:06d}", PROMPT.format(index)) for index in range(args.planned // grid.requests + 1)]
    plan = Plan(questions, lambda question: question.question, grid)

    async def work(journal: Journal) -> tuple[int, float]:
        endpoints = [Endpoint(url, Decoding(256, ("\nQ:",))) for url in args.urls]
        for endpoint in endpoints:
            await endpoint.prepare()
            endpoint.set_protocol(details=False)
        journal.claim(same_model({endpoint.url: endpoint.identity for endpoint in endpoints}))
        print("started", flush=True)
        asyncio.get_running_loop().call_later(args.seconds, os.kill, os.getpid(), signal.SIGINT)
        cpu = time.process_time()
        outcome = await Sampler(endpoints, journal, Budget(journal, TeacherConfig(""), len(endpoints))).run(plan)
        cpu = time.process_time() - cpu
        for endpoint in endpoints:
            await endpoint.close()
        return outcome.asked, cpu

    with tempfile.TemporaryDirectory() as folder, Journal(Path(folder) / "journal.sqlite") as journal:
        report(*uvloop.run(work(journal)))


def hub_client(args: argparse.Namespace) -> None:
    """AsyncInferenceClient with a semaphore an endpoint; what was answered is kept in a list."""
    from huggingface_hub import AsyncInferenceClient

    async def work() -> tuple[int, float]:
        answers, end = [], time.monotonic() + args.seconds
        settings = {"do_sample": True, "temperature": 0.7, "max_new_tokens": 256, "stop": ["\nQ:"]}

        async def ask(client: AsyncInferenceClient, slots: asyncio.Semaphore, index: int) -> None:
            try:
                answers.append(await client.text_generation(PROMPT.format(index), seed=index + 1, **settings))
            finally:
                slots.release()

        async def fill(url: str) -> None:
            client, slots = (
                AsyncInferenceClient(base_url=f"{url}/generate", timeout=600),
                asyncio.Semaphore(args.slots),
            )
            waiting, index = set(), 0
            while time.monotonic() < end:
                await slots.acquire()
                task = asyncio.ensure_future(ask(client, slots, index))
                waiting.add(task)
                task.add_done_callback(waiting.discard)
                index += 1
            await asyncio.gather(*waiting, return_exceptions=True)

        print("started", flush=True)
        cpu = time.process_time()
        await asyncio.gather(*(fill(url) for url in args.urls))
        return len(answers), time.process_time() - cpu

    report(*asyncio.run(work()))


def lm_eval(args: argparse.Namespace) -> None:
    """lm-evaluation-harness, given as many requests as fit in the time."""
    from lm_eval.api.instance import Instance
    from lm_eval.models.openai_completions import LocalCompletionsAPI

    model = LocalCompletionsAPI(
        model="stand-in/teacher",
        base_url=f"{args.urls[0]}/v1/completions",
        tokenizer_backend=None,
        tokenized_requests=False,
        num_concurrent=args.slots,
        batch_size=1,
    )
    settings = {"until": ["\nQ:"], "do_sample": True, "temperature": 0.7, "max_gen_toks": 256}
    count = int(args.slots / args.latency * args.seconds)
    requests = [Instance("generate_until", {}, (PROMPT.format(i), dict(settings)), i) for i in range(count)]
    print("started", flush=True)
    cpu = time.process_time()
    answers = model.generate_until(requests, disable_tqdm=True)
    print(flush=True)
    report(sum(answer is not None for answer in answers), time.process_time() - cpu)


def distilabel(args: argparse.Namespace) -> None:
    """distilabel's InferenceEndpointsLLM, batch after batch as its tasks call it, each as large as all slots."""
    from distilabel.models import InferenceEndpointsLLM

    model = InferenceEndpointsLLM(base_url=args.urls[0], api_key="none")
    model.load()
    end, answers, index = time.monotonic() + args.seconds, 0, 0
    print("started", flush=True)
    cpu = time.process_time()
    while time.monotonic() < end:
        prompts = [[{"role": "user", "content": PROMPT.format(index + i)}] for i in range(args.slots)]
        made = model.generate_outputs(prompts, temperature=0.7, max_new_tokens=256, stop_sequences=["\nQ:"])
        answers += sum(output["generations"][0] is not None for output in made)
        index += len(prompts)
    report(answers, time.process_time() - cpu)


CLIENTS = {"sampler": sampler, "hub_client": hub_client, "lm_eval": lm_eval, "distilabel": distilabel}


if __name__ == "__main__":
    main()
