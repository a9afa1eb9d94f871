"""The process that reads what strangers wrote: one job after the other, each with bounds on its time and memory.

What goes over a bound ends the process, which [`~readers.Readers`] then starts anew. Jobs come pickled from the Hub;
answers are JSON, since nothing that read a stranger's file may make the Hub unpickle.
"""

import importlib
import json
import pickle
import resource
import signal
import sys
from dataclasses import asdict
from multiprocessing.connection import Connection
from pathlib import Path

from .contents import Blob


# CPU seconds and bytes that one job may take; those of a commit keep the commit waiting.
SECONDS = {"card": 1, "card_faults": 1, "config": 1, "ignored": 2, "page": 2, "comment": 1, "rows": 2, "difference": 2,
           "shards": 1, "headers": 2}  # fmt: skip
MEMORY = 96 * 1024**2
MAX_TEXT = 1024 * 1024
MAX_CONFIG = 4096
# What an answer begins with: a process whose memory has grown does no further job.
LAST, MORE = b"0", b"1"


def card(blob: Blob) -> dict:
    from .cards import CardError, parse_card

    try:
        return parse_card(_text(blob))
    except CardError:
        return {}  # a card pushed as a plain file may be broken; it then has no metadata


def card_faults(text: str, repo_type: str) -> tuple[list[str], list[str]]:
    from .cards import validate_card

    return validate_card(text, repo_type)


def config(blob: Blob) -> dict:
    """What listings show of a model's `config.json`, `{}` where it is none."""
    found = json.loads(_text(blob))
    if not isinstance(found, dict):
        return {}
    shown = {key: found[key] for key in ("architectures", "model_type") if key in found}
    quantization = found.get("quantization_config")
    if isinstance(quantization, dict):
        keys = ("quant_method", "bits", "load_in_4bit", "load_in_8bit")
        shown["quantization_config"] = {key: quantization[key] for key in keys if key in quantization}
    return shown if len(str(shown)) <= MAX_CONFIG else {}


def ignored(text: str, paths: list[str]) -> list[bool]:
    from .ignore import ignored

    return ignored(text, paths)


def page(blob: Blob, base: str) -> str:
    """A card's body as HTML."""
    from .cards import split_card
    from .markdown import render_markdown

    return render_markdown(split_card(_text(blob))[1], base)


def shards(blob: Blob) -> dict:
    from .shards import read_index

    return read_index(blob)


def headers(files: dict[str, Blob]) -> dict:
    from .shards import read_headers

    return read_headers(files)


def comment(text: str) -> str:
    from .markdown import render_markdown

    return render_markdown(text)


def rows(path: str, blob: Blob) -> dict:
    from .first_rows import first_rows

    return asdict(first_rows(path, blob))


def difference(before: Blob | None, after: Blob | None, names: tuple[str, str]) -> str:
    """Two texts as a unified diff."""
    import difflib

    old, new = (blob.read().decode().splitlines(keepends=True) if blob else [] for blob in (before, after))
    lines = difflib.unified_diff(old, new, *names)
    return "".join(line if line.endswith("\n") else f"{line}\n" for line in lines)


READ = (card, card_faults, config, ignored, page, comment, rows, difference, shards, headers)
JOBS = {job.__name__: job for job in READ}
# Brought in before a job's bounds are set, since loading code takes memory too.
MODULES = {"ignored": "ignore", "page": "markdown", "comment": "markdown", "rows": "first_rows", "shards": "shards",
           "headers": "shards"}  # fmt: skip


def _text(blob: Blob) -> str:
    return blob.read(MAX_TEXT).decode("utf-8", "replace")


def _data() -> int:
    """Bytes that this process may write to."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmData")).split()[1]) * 1024


def main() -> None:
    hub = Connection(int(sys.argv[1]))
    while True:
        try:
            job, arguments = pickle.loads(hub.recv_bytes())
        except EOFError:
            return
        importlib.import_module(f".{MODULES.get(job, 'cards')}", __package__)
        before = _data()
        resource.setrlimit(resource.RLIMIT_DATA, (before + MEMORY, resource.RLIM_INFINITY))
        signal.setitimer(signal.ITIMER_PROF, SECONDS[job])
        try:
            answer = {"value": JOBS[job](*arguments)}
        except RecursionError:
            answer = {"error": "it is nested too deep"}
        except ValueError as error:
            answer = {"error": " ".join(str(error).split())[:300]}
        # Half characters, which JSON and tables may hold, are nothing that the Hub could send on.
        text = json.dumps(answer, ensure_ascii=False).encode("utf-8", "replace")
        signal.setitimer(signal.ITIMER_PROF, 0)
        del answer
        hub.send_bytes((LAST if _data() > before + MEMORY // 4 else MORE) + text)


if __name__ == "__main__":
    main()
