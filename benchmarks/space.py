"""The Space on many stored answers: its first page beside a bare page of Gradio's, a row, a crowd, and its memory.

    python benchmarks/space.py --questions 10000

A run of nothing but results is written into a temporary folder. Both pages start as processes of their own; `cpu` is
what one took up to its first page, which a busy machine changes less than the time. The kB are the page and what its
server sends before a click, without Gradio's own scripts. A row is opened as the page's script opens it. Each visitor
of the crowd fetches the page with its list, opens a row, and asks one stored question by name. Memory is the server's,
after every hundred different rows.
"""

import argparse
import asyncio
import contextlib
import os
import random
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import psutil

from hfdistill.artifacts.manifest import manifest
from hfdistill.artifacts.store import Store
from hfdistill.config import Config, RunConfig
from hfdistill.kinds import RESULTS
from hfdistill.rows import write_rows
from hfdistill.space.settings import Settings


ROWS = {"Teacher": 0.8, "ICL": 0.2, "Ours w/o R": 0.7, "Ours": 0.9}
BARE = """
import gradio as gr
with gr.Blocks(analytics_enabled=False) as page:
    gr.HTML("x")
page.launch(quiet=True, ssr_mode=False)
"""
OURS = """
import sys
from pathlib import Path
from hfdistill.space.app import main
main(Path(sys.argv[1]))
"""


def write_run(folder: Path, questions: int) -> None:
    """Results of four models, as an evaluation stores them."""
    draw = random.Random(0)
    golds = [draw.randrange(21) for _ in range(questions)]

    def responses() -> Iterator[dict[str, Any]]:
        for row, accuracy in ROWS.items():
            for number, gold in enumerate(golds):
                correct = draw.random() < accuracy
                answer = str(gold if correct else gold + 1)
                yield {
                    "task": "word_problems", "row": row, "question_id": f"q{number}", "question": question(number),
                    "response": f"{'Step 1: 7 + 5 = 12.' * 8}\nThe answer is {answer}.", "answer": answer,
                    "gold": str(gold), "correct": correct, "category": ("now", "count")[number % 2],
                    "tokens": 20 + number % 30, "finish_reason": "eos_token", "score": draw.gauss(correct * 2 - 1, 1),
                }  # fmt: skip

    write_rows(folder / "results", RESULTS, "responses", responses())
    figures = {row: {"value": at, "low": at - 0.01, "high": at + 0.01, "n": questions} for row, at in ROWS.items()}
    run = RunConfig("run", output_dir=str(folder), push=False)
    config = Config(run, {"name": "word_problems"}, None, None, None, {})
    Store(run).publish(folder / "results", RESULTS, manifest(RESULTS, config, {}, {"word_problems": figures}))
    settings = Settings(str(folder / "artifacts" / "run"), stored_only=True)
    (folder / "space.json").write_text(settings.to_json(), encoding="utf-8")


def question(number: int) -> str:
    """The text of a question."""
    return f"Tom has {number} pens. Buys 5. Loses 3. Finds {number % 7}. How many pens are there now?"


class Visitor:
    """Talks to a page as its script in a browser does.

    Args:
        client (`httpx.AsyncClient`): at the page's address.
        name (`str`): of the visit.
    """

    def __init__(self, client: httpx.AsyncClient, name: str):
        self.client, self.name = client, name

    async def arrive(self) -> int:
        """Fetch the page and what it shows before a click, and return the bytes of both."""
        page = (await self.client.get("/")).content
        self.config = (await self.client.get("/config")).json()
        loads = [
            each["id"] for each in self.config["dependencies"] if any(event == "load" for _, event in each["targets"])
        ]
        shown = [await self._queued(number, []) for number in loads]
        return len(page) + sum(map(len, shown))

    async def open_row(self, number: int) -> str:
        """Open a stored question, and return what is shown of it."""
        explore = next(each for each in self.config["components"] if each["props"].get("elem_id") == "explore")
        body = {"data": {"question": f"q{number}"}, "component_id": explore["id"], "fn_name": "question"}
        answer = await self.client.post("/gradio_api/component_server", json={**body, "session_hash": self.name})
        answer.raise_for_status()
        return answer.text

    async def ask(self, text: str) -> str:
        """Ask by name, and return everything that comes back."""
        named = next(each["id"] for each in self.config["dependencies"] if each["api_name"] == "compare")
        return (await self._queued(named, [text, 0, 1])).decode()

    async def _queued(self, number: int, data: list) -> bytes:
        body = {"fn_index": number, "data": data, "session_hash": self.name}
        (await self.client.post("/gradio_api/queue/join", json=body)).raise_for_status()
        got = b""
        async with self.client.stream("GET", f"/gradio_api/queue/data?session_hash={self.name}") as answer:
            async for part in answer.aiter_bytes():
                got += part
                if b"process_completed" in got:
                    break
        assert b'"success":true' in got.replace(b" ", b""), got[-500:]
        return got


@contextlib.contextmanager
def served(code: str, *arguments: str) -> Iterator[tuple[str, psutil.Process, float]]:
    """A page in a process of its own: its address, the process, and when it was started."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {**os.environ, "GRADIO_SERVER_PORT": str(port), "GRADIO_ANALYTICS_ENABLED": "False"}
    started = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "-c", code, *arguments], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        yield f"http://127.0.0.1:{port}", psutil.Process(process.pid), started
    finally:
        process.terminate()
        process.wait(20)


async def first_page(code: str, *arguments: str) -> tuple[float, float, int]:
    """Seconds and CPU seconds from the start of a process to its first page, and the bytes that a visitor got."""
    with served(code, *arguments) as (address, process, started):
        async with _client(address) as client:
            while True:
                try:
                    await client.get("/")
                    break
                except httpx.ConnectError:
                    await asyncio.sleep(0.01)
            got = await Visitor(client, "first").arrive()
            used = process.cpu_times()
            return time.monotonic() - started, used.user + used.system, got


async def crowd(address: str, visitors: int, questions: int) -> list[float | BaseException]:
    """Seconds that each of many visitors at once took for page, row and question, or what went wrong."""
    async with _client(address) as client:

        async def visit(number: int) -> float:
            started, visitor = time.monotonic(), Visitor(client, f"visitor{number}")
            at = number * 97 % questions
            await visitor.arrive()
            assert question(at) in await visitor.open_row(at)
            assert question(at) in await visitor.ask(question(at))
            return time.monotonic() - started

        return await asyncio.gather(*map(visit, range(visitors)), return_exceptions=True)


async def rows_and_memory(address: str, process: psutil.Process, questions: int) -> tuple[list[float], list[float]]:
    """Milliseconds of each opened row, and MB of the server after every hundred."""
    times, memory = [], []
    async with _client(address) as client:
        visitor = Visitor(client, "reader")
        await visitor.arrive()
        for number in range(1000):
            started = time.monotonic()
            await visitor.open_row(number * 7 % questions)
            times.append(1000 * (time.monotonic() - started))
            if number % 100 == 99:
                memory.append(process.memory_info().rss / 1e6)
    return times, memory


def _client(address: str) -> httpx.AsyncClient:
    # The server closes a connection that rests for 5 s, and who asks just then gets a ReadError: a browser asks again,
    # httpx does not.
    limits = httpx.Limits(max_connections=None, keepalive_expiry=2)
    return httpx.AsyncClient(base_url=address, timeout=120, limits=limits, trust_env=False)


async def measure(questions: int, rounds: int, visitors: Sequence[int]) -> None:
    """Print the figures as Markdown."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        write_run(folder, questions)
        pages = {"a bare page of Gradio's": (BARE,), "the Space": (OURS, str(folder / "space.json"))}
        print("| first page | seconds | cpu seconds | kB before a click |\n| --- | ---: | ---: | ---: |")
        taken: dict[str, list[tuple[float, float, int]]] = {name: [] for name in pages}
        for _ in range(rounds):
            for name, page in pages.items():
                taken[name].append(await first_page(*page))
        for name, each in taken.items():
            seconds, cpu, size = (statistics.median(values) for values in zip(*each, strict=True))
            print(f"| {name} | {seconds:.2f} | {cpu:.2f} | {size / 1000:.0f} |")
        with served(OURS, str(folder / "space.json")) as (address, process, _):
            await _until_there(address)
            times, memory = await rows_and_memory(address, process, questions)
            ordered = sorted(times)
            print(f"\nA row, of 1,000: {ordered[500]:.1f} ms (median), {ordered[990]:.1f} ms (99 of 100)")
            print(f"Memory after each 100 rows, MB: {', '.join(f'{each:.0f}' for each in memory)}")
            for count in visitors:
                told = await crowd(address, count, questions)
                failed = [each for each in told if isinstance(each, BaseException)]
                done = sorted(each for each in told if not isinstance(each, BaseException))
                print(
                    f"{count} visitors at once: {len(failed)} errors, the last done after {max(done):.1f} s",
                    *map(repr, failed[:1]),
                )
            print(f"Memory after them: {process.memory_info().rss / 1e6:.0f} MB")


async def _until_there(address: str) -> None:
    async with _client(address) as client:
        while True:
            with contextlib.suppress(httpx.ConnectError):
                await client.get("/")
                return
            await asyncio.sleep(0.05)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--questions", type=int, default=10_000, help="stored ones (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="starts of each page (default: %(default)s)")
    parser.add_argument("--visitors", type=int, nargs="*", default=[50], help="at once (default: %(default)s)")
    args = parser.parse_args()
    asyncio.run(measure(args.questions, args.rounds, args.visitors))
