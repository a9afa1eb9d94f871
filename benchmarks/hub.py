"""The embedded Hub beside its peers, all in one run: absolute times depend on the machine, the ratios should not.

    python benchmarks/hub.py                    # 1 GB; needs nginx, about 10 minutes
    python benchmarks/hub.py --megabytes 200 --only downloads uploads

Downloads are measured against nginx serving the same file, uploads against the client's own ceiling: the same client
pushing to a sink that answers like a Hub and stores nothing. The last lines tell which goals hold.
"""

import argparse
import contextlib
import json
import os
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlsplit

from hub_hostile import MAX_RUNS, READER, Peak, Stranger, peak_memory, peak_of


ROOT = Path(__file__).parents[1]
UPLOAD = """
import sys, time
from huggingface_hub import HfApi
api = HfApi()
api.create_repo("bench/up", exist_ok=True)
start = time.perf_counter()
api.upload_file(path_or_fileobj=sys.argv[1], path_in_repo=sys.argv[2], repo_id="bench/up")
print(time.perf_counter() - start)
"""
MANY = """
import sys, time
from huggingface_hub import CommitOperationAdd, HfApi
api = HfApi()
api.create_repo("bench/many", exist_ok=True)
files = [CommitOperationAdd(f"{i % 100}/{i}.json", b'{"row": %d, "run": %r}' % (i, sys.argv[1].encode()))
         for i in range(10_000)]
start = time.perf_counter()
api.create_commit("bench/many", files, commit_message="many")
print(time.perf_counter() - start)
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for(url: str) -> None:
    address = urlsplit(url)
    for _ in range(600):
        try:
            socket.create_connection((address.hostname, address.port), timeout=1).close()
            return
        except OSError:
            time.sleep(0.05)
    raise RuntimeError(f"nothing answers at {url}")


@contextmanager
def running(command: list, url: str, **options) -> Iterator[subprocess.Popen]:
    process = subprocess.Popen(command, **options)
    try:
        wait_for(url)
        yield process
    finally:
        process.terminate()
        process.wait()


class Bench:
    def __init__(self, folder: Path, megabytes: int, rounds: int):
        self.folder, self.megabytes, self.rounds = folder, megabytes, rounds
        self.data = folder / "hub"
        self.url = f"http://127.0.0.1:{free_port()}"
        self.missed: list[str] = []
        self.peak = 0.0

    def report(self, what: str, figure: str, goal: str = "", holds: bool = True) -> None:
        print(f"{what:<64} {figure:>22}   {goal and ('holds' if holds else 'MISSED'):<6} {goal}", flush=True)
        if not holds:
            self.missed.append(f"{what}: {figure}, the goal is {goal}")

    def client(self, code: str, url: str, *arguments: str, xet: bool = True) -> float:
        """Seconds that a client in a fresh process with a fresh cache took."""
        with tempfile.TemporaryDirectory(dir=self.folder) as home:
            done = subprocess.run(
                [sys.executable, "-c", code, *arguments],
                env={
                    **os.environ,
                    "HF_ENDPOINT": url,
                    "HF_HOME": home,
                    "HF_TOKEN": "any",
                    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
                    "HF_HUB_DISABLE_TELEMETRY": "1",
                    "HF_HUB_DISABLE_XET": "0" if xet else "1",
                },
                capture_output=True,
                text=True,
            )
        if done.returncode:
            raise RuntimeError(done.stdout + done.stderr)
        return float(done.stdout.split()[-1])

    def interleaved(self, *calls: Callable[[int], float]) -> list[float]:
        """The best of several rounds of each call, taken in turn so that all see the same machine."""
        times = [[call(number) for call in calls] for number in range(self.rounds)]
        return [min(column) for column in zip(*times, strict=True)]

    def uploads(self) -> None:
        sink = f"http://127.0.0.1:{free_port()}"
        command = [sys.executable, str(ROOT / "benchmarks" / "hub_sink.py"), sink.rpartition(":")[2]]
        with running(command, sink):
            for xet, goal in ((True, 0.75), (False, 0.8)):

                def push(url: str, number: int, xet: bool = xet) -> float:
                    # Other bytes each time: contents that a Hub has are not sent again.
                    return self.client(UPLOAD, url, str(self.fresh_file()), f"{xet}-{number}.bin", xet=xet)

                ours, ceiling = self.interleaved(lambda n: push(self.url, n), lambda n: push(sink, n))
                name = "Xet" if xet else "LFS"
                self.report(f"upload of {self.megabytes} MB, {name}: Hub, sink", f"{ours:.2f} s, {ceiling:.2f} s")
                share = ceiling / ours
                self.report(
                    f"upload by {name}: share of the client's ceiling", f"{share:.2f}", f">= {goal}", share >= goal
                )

    def fresh_file(self) -> Path:
        """Weights-like content: normally distributed floats."""
        import numpy as np

        path = self.folder / "weights.bin"
        draw = np.random.default_rng()
        with open(path, "wb") as file:
            for _ in range(self.megabytes):
                file.write((draw.standard_normal(250_000, dtype=np.float32) * 0.02).tobytes())
            # Else a Hub that flushes what it was sent would wait for this file too.
            file.flush()
            os.fsync(file.fileno())
        return path

    def downloads(self) -> None:
        path = self.fresh_file()
        self.client(UPLOAD, self.url, str(path), "down.bin", xet=False)
        nginx = f"http://127.0.0.1:{free_port()}"
        config = self.folder / "nginx.conf"
        config.write_text(
            f"daemon off; pid {self.folder}/nginx.pid; error_log {self.folder}/nginx.log; worker_processes 1; "
            "events {} http { access_log off; sendfile on; tcp_nopush on; "
            f"server {{ listen {nginx[7:]}; root {self.folder}; }} }}"
        )
        # nginx drops to another user, who must be able to read.
        self.folder.chmod(0o755)
        path.chmod(0o644)
        with running([shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin"), "-c", config], nginx):
            ours, peer = self.interleaved(
                lambda n: download(f"{self.url}/bench/up/resolve/main/down.bin"),
                lambda n: download(f"{nginx}/weights.bin"),
            )
        self.report(f"download of {self.megabytes} MB: Hub, nginx", f"{ours:.2f} s, {peer:.2f} s")
        self.report("download: speed as a share of nginx", f"{peer / ours:.2f}", ">= 0.9", peer / ours >= 0.9)

    def many_files(self) -> None:
        seconds = min(self.client(MANY, self.url, str(number)) for number in range(2))
        self.report("10,000 small files in one commit, client and Hub together", f"{seconds:.2f} s")
        lines = [line for line in self.log_lines() if "/commit/" in line["path"] and "many" in line["path"]]
        fine = all(line["status"] == 200 for line in lines)
        self.report("... of which the commit", f"{min(line['ms'] for line in lines) / 1000:.2f} s", "no error", fine)

    def hostile(self) -> None:
        """Commits of one user, alone and while others push and read a card that keeps a renderer busy."""
        self.call("POST", "/api/repos/create", {"name": "quiet", "organization": "bench"})
        self.call("POST", "/api/repos/create", {"name": "hostile", "organization": "bench"})
        numbers = iter(range(10**6))

        def commit() -> float:
            return timed(lambda: self.commit("quiet", "a.txt", f"{next(numbers)}"))

        alone = statistics.median(commit() for _ in range(100))
        stop = threading.Event()

        def disturb() -> None:
            while not stop.is_set():
                with contextlib.suppress(RuntimeError):  # it may be told that the Hub is busy with what it sent
                    self.commit("hostile", "README.md", "<div>" * 200_000 + f"{next(numbers)}")
                    self.call("GET", "/bench/hostile")

        threads = [threading.Thread(target=disturb) for _ in range(2)]
        [thread.start() for thread in threads]
        beside = statistics.median(commit() for _ in range(100))
        stop.set()
        [thread.join() for thread in threads]
        self.report("a small commit alone, beside a hostile README", f"{alone * 1000:.1f} ms, {beside * 1000:.1f} ms")
        self.report("... how much longer", f"{beside / alone:.2f}", "<= 2", beside <= 2 * alone)

    def memory(self) -> None:
        """The server and the processes that read for it, while each hostile input is dealt with."""
        self.peak = peak_memory(self.server.pid)
        for what, send in Stranger(urlsplit(self.url).netloc).inputs():
            with peak_of(self.server.pid) as peak:
                send()
            self.peak = max(self.peak, peak.server)
            self.report_memory(what, peak)
        data, url = self.folder / "closed", f"http://127.0.0.1:{free_port()}"
        tokens = make_tokens(data, ("ada", "bob", "eve", "mallory"))
        with self.serving(data, url) as server, peak_of(server.pid) as peak:
            strangers = [Stranger(urlsplit(url).netloc, user, token) for user, token in tokens.items()]
            at_once([partial(stranger.lying_shard, 8, MAX_RUNS) for stranger in strangers])
        self.report_memory("such shards of four users at once, on a fresh server", peak)

    def report_memory(self, what: str, peak: Peak) -> None:
        fine = peak.server <= 200 and peak.reader <= READER
        self.report(f"{what}: server, reader", f"{peak.server:.0f}, {peak.reader:.0f} MB", f"<= 200, {READER}", fine)

    def commit(self, name: str, path: str, text: str) -> None:
        lines = [
            {"key": "header", "value": {"summary": "s"}},
            {"key": "file", "value": {"path": path, "content": text, "encoding": "utf-8"}},
        ]
        self.call("POST", f"/api/models/bench/{name}/commit/main", "\n".join(map(json.dumps, lines)).encode())

    def call(self, method: str, path: str, body: object = None) -> None:
        connection = HTTPConnection(urlsplit(self.url).netloc, timeout=120)
        connection.request(
            method, path, body if isinstance(body, bytes) else json.dumps(body).encode() if body else None
        )
        answer = connection.getresponse()
        data = answer.read()
        connection.close()
        if answer.status >= 400:
            raise RuntimeError(f"{method} {path}: {answer.status} {data[:200]!r}")

    def clone(self) -> None:
        """What git makes of 10,000 files of 100 commits, the first time and once more."""
        repo = "clone"
        self.call("POST", "/api/repos/create", {"name": repo, "organization": "bench"})
        for number in range(100):
            files = [
                {"path": f"{number}/{i}.json", "content": f"{number} {i}", "encoding": "utf-8"} for i in range(100)
            ]
            lines = [{"key": "header", "value": {"summary": "s"}}, *({"key": "file", "value": file} for file in files)]
            self.call("POST", f"/api/models/bench/{repo}/commit/main", "\n".join(map(json.dumps, lines)).encode())

        def clone() -> float:
            with tempfile.TemporaryDirectory(dir=self.folder) as target:
                command = ["git", "clone", "--quiet", "--bare", f"{self.url}/bench/{repo}", target]
                return timed(lambda: subprocess.run(command, check=True))

        self.report("git clone of 100 commits, 10,000 files: first, second", f"{clone():.2f} s, {clone():.2f} s")

    def log_lines(self) -> list[dict]:
        lines = (self.folder / "hub.log").read_text().splitlines()
        return [json.loads(line) for line in lines if line.startswith("{")]

    def listing(self) -> None:
        """The same pages of a Hub of 100 and of one of 10,000 repositories, taken in turn."""
        small, url = self.folder / "small", f"http://127.0.0.1:{free_port()}"
        with self.serving(small, url):
            fill(small, 100)
            fill(self.data, 10_000)
            few, many = self.interleaved(lambda n: page_time(url), lambda n: page_time(self.url))
        self.report("a page of 50 of 100, of 10,000 repositories", f"{few * 1000:.2f} ms, {many * 1000:.2f} ms")
        # Two equal servers differ by as much from run to run.
        self.report("listing: how much slower with 10,000", f"{many / few:.2f}", "<= 1.1", many / few <= 1.1)

    def clients(self) -> None:
        """64 clients at once: each makes a repository, commits, lists and downloads, over and over."""
        errors: list[str] = []
        requests = [0] * 64

        def work(index: int) -> None:
            connection = HTTPConnection(urlsplit(self.url).netloc, timeout=120)

            def call(method: str, path: str, body: object = None) -> bytes:
                requests[index] += 1
                content = body if isinstance(body, bytes) else json.dumps(body).encode() if body else None
                connection.request(method, path, content)
                answer = connection.getresponse()
                data = answer.read()
                if answer.status >= 300:
                    errors.append(f"{method} {path}: {answer.status} {data[:100]!r}")
                return data

            try:
                name = f"client{index}"
                call("POST", "/api/repos/create", {"name": name, "organization": "bench"})
                for number in range(10):
                    text = {"path": "a.txt", "content": f"{index} {number}", "encoding": "utf-8"}
                    lines = [{"key": "header", "value": {"summary": "s"}}, {"key": "file", "value": text}]
                    call("POST", f"/api/models/bench/{name}/commit/main", "\n".join(map(json.dumps, lines)).encode())
                    call("GET", f"/api/models/bench/{name}/tree/main?recursive=true")
                    call("GET", "/api/models?author=bench&limit=50")
                    if call("GET", f"/bench/{name}/resolve/main/a.txt") != f"{index} {number}".encode():
                        errors.append(f"{name} read something else than it wrote")
            except OSError as error:
                errors.append(repr(error))

        seconds = timed(lambda: at_once([partial(work, index) for index in range(64)]))
        self.report("64 clients at once: errors", str(len(errors)), "0", not errors)
        self.report("64 clients at once: requests a second", f"{sum(requests) / seconds:.0f}")
        for error in errors[:5]:
            print(error)

    @contextmanager
    def serving(self, data: Path, url: str) -> Iterator[subprocess.Popen]:
        code = (
            "from sys import argv; from hfdistill.servers.hub.app import serve; serve(argv[1], int(argv[2]), argv[3])"
        )
        command = [sys.executable, "-c", code, "127.0.0.1", url.rpartition(":")[2], data]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        with (
            open(data.with_name(f"{data.name}.log"), "w") as log,
            running(command, url, env=environment, stdout=subprocess.DEVNULL, stderr=log) as process,
        ):
            yield process

    def run(self, only: list[str]) -> None:
        with self.serving(self.data, self.url) as self.server:
            for name in only:
                getattr(self, name)()
            peak = max(self.peak, peak_memory(self.server.pid))
        self.report("the server's memory at its peak", f"{peak:.0f} MB", "<= 200 MB", peak <= 200)
        print("all goals hold" if not self.missed else "\n".join(["missed:", *self.missed]))


def timed(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def at_once(calls: list[Callable[[], object]]) -> None:
    threads = [threading.Thread(target=call) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def make_tokens(data: Path, users: tuple[str, ...]) -> dict[str, str]:
    from hfdistill.servers.hub.service import Hub

    hub = Hub(data)
    tokens = {user: hub.accounts.create_token(user, "default", "write") for user in users}
    hub.close()
    return tokens


def fill(data: Path, count: int) -> None:
    """Repositories straight into the database: making them one by one would take an hour of flushing."""
    from hfdistill.servers.hub.database import new_oid, now
    from hfdistill.servers.hub.repositories import Commit
    from hfdistill.servers.hub.service import Hub
    from hfdistill.servers.hub.trees import EMPTY_TREE

    card = json.dumps({"pretty_name": "fill", "license": "mit", "tags": ["hfdistill"] * 5, "configs": ["a"] * 20})
    hub = Hub(data)
    with hub.database.write() as write:
        write.execute("INSERT OR IGNORE INTO trees VALUES (?, ?)", EMPTY_TREE)
        for number in range(count):
            oid, time_now = new_oid(), now()
            row = write.execute(
                "INSERT INTO repos (type, namespace, name, created_at, updated_at, head, card) "
                "VALUES ('dataset', 'fill', ?, ?, ?, ?, ?)",
                (f"repo{number}", time_now, time_now, oid, card),
            ).lastrowid
            first = Commit(row, oid, EMPTY_TREE[0], None, None, "initial commit", "", "local", time_now)
            hub.repositories.insert_commit(write, first)
            write.execute("INSERT INTO refs VALUES (?, 'refs/heads/main', ?)", (row, oid))
            tags = ("all", "license:mit", "odd" if number % 2 else "even")
            write.executemany("INSERT INTO tags VALUES (?, ?)", ((tag, row) for tag in tags))
    hub.close()


def page_time(url: str) -> float:
    """The median of seconds a page, over 80 pages or to the end, of a listing by author and of one by tag."""
    times = []
    for query in ("author=fill", "filter=all"):
        path = f"/api/datasets?limit=50&{query}"
        while path and len(times) < 80:
            start = time.perf_counter()
            path = next_page(url, path)
            times.append(time.perf_counter() - start)
    return statistics.median(times)


def next_page(url: str, path: str) -> str | None:
    connection = HTTPConnection(urlsplit(url).netloc, timeout=60)
    connection.request("GET", path)
    answer = connection.getresponse()
    data = answer.read()
    connection.close()
    if answer.status != 200:
        raise RuntimeError(f"{path}: {answer.status} {data[:200]!r}")
    link = re.match(r"<https?://[^/]+(/[^>]+)>", answer.getheader("Link", ""))
    return link[1] if link else None


def download(url: str) -> float:
    """Reads a download into one buffer and forgets it: the reader should cost as little as can be."""
    address = urlsplit(url)
    buffer = bytearray(1024 * 1024)
    start = time.perf_counter()
    with socket.create_connection((address.hostname, address.port)) as connection:
        connection.sendall(
            f"GET {address.path} HTTP/1.1\r\nHost: {address.netloc}\r\nConnection: close\r\n\r\n".encode()
        )
        if b" 200 " not in connection.recv(15):
            raise RuntimeError(f"no success for {url}")
        while connection.recv_into(buffer):
            pass
    return time.perf_counter() - start


MEASUREMENTS = ("downloads", "uploads", "many_files", "listing", "clients", "clone", "hostile", "memory")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=int, default=1000, help="size of the large file")
    parser.add_argument("--rounds", type=int, default=3, help="rounds of each comparison; the best one counts")
    parser.add_argument("--only", nargs="+", choices=MEASUREMENTS, default=list(MEASUREMENTS), help="what to measure")
    parser.add_argument("--folder", type=Path, help="where to work, on the disk to be measured")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        Bench(Path(folder), args.megabytes, args.rounds).run(args.only)


if __name__ == "__main__":
    main()
