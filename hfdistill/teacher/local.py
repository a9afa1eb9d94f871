"""Teachers on this machine: servers started on its GPUs with what is installed, found by the run, and taken down."""

import ctypes
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import psutil

from ..errors import HFDistillError
from ..sections import RunConfig
from ..servers.process import answers, check_running, free_port
from ..servers.recorded import end_gently, known_again, notes_of, read_json, write_json
from .engines import LLAMACPP, MOST_TOKENS, OWN, PROGRAMS, SGLANG, TGI, VLLM, Serving
from .sizes import files_of, only_gguf, weight_bytes


START_SECONDS = 3600  # with the download of a large model
END_SECONDS = 60
# Of a GPU's memory; the rest is for keys and values, without which nothing can be answered together.
WEIGHTS_SHARE = 0.75
_POLL_SECONDS = 0.2
_DIE_WITH_PARENT = 1  # PR_SET_PDEATHSIG


@dataclass
class LocalTeacher:
    """One server: its process, and where it answers."""

    process: subprocess.Popen
    url: str
    log: Path


def gpu_memory() -> list[int]:
    """Bytes of each GPU of this machine that CUDA_VISIBLE_DEVICES leaves, by nvidia-smi; empty without."""
    if shutil.which("nvidia-smi") is None:
        return []
    asked = ["nvidia-smi", "--query-gpu=memory.total", "--format=csv,noheader,nounits"]
    told = subprocess.run(asked, capture_output=True, text=True)
    if told.returncode:
        return []
    sizes = [int(line) * 2**20 for line in told.stdout.split()]
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        return sizes
    return [sizes[int(index)] for index in visible.split(",") if index.strip().isdecimal() and int(index) < len(sizes)]


def choose_engine(files: dict[str, int], gpus: int) -> str:
    """The first engine that is installed and can serve these files here."""
    gguf = any(name.endswith(".gguf") for name in files)
    if gpus and not gguf:
        for engine in (VLLM, SGLANG, TGI):
            if shutil.which(PROGRAMS[engine]):
                return engine
    if gguf and shutil.which(PROGRAMS[LLAMACPP]):
        return LLAMACPP
    return OWN


def choose_parallel(weights: int, memory: Sequence[int]) -> int:
    """GPUs that share one copy of the weights: as few as hold them, a power of two as heads are divided by.

    Raises:
        [`~hfdistill.errors.HFDistillError`]: if all of them do not.
    """
    parallel = 1
    while parallel <= len(memory):
        if weights <= WEIGHTS_SHARE * parallel * min(memory):
            return parallel
        parallel *= 2
    raise HFDistillError(
        f"the model's weights are {weights / 1e9:.0f} GB, and {len(memory)} GPUs of {min(memory) / 1e9:.0f} GB leave "
        f"{WEIGHTS_SHARE * sum(memory) / 1e9:.0f} GB for weights: take a smaller or quantized teacher, more GPUs, or "
        "`hfdistill teacher deploy`"
    )


def plan(
    model: str,
    revision: str | None = None,
    engine: str | None = None,
    max_total_tokens: int | None = None,
    tensor_parallel: int | None = None,
    gguf: str | None = None,
    replicas: int | None = None,
) -> tuple[Serving, int]:
    """How a teacher is served here, and by how many servers: one on each GPU, or on each few that hold its weights.

    Raises:
        [`~hfdistill.errors.HFDistillError`]: if what is asked for is not installed, or not here.
    """
    files, memory = files_of(model, revision), gpu_memory()
    engine = engine or choose_engine(files, len(memory))
    if engine == LLAMACPP:
        gguf = _gguf_here(model, revision, gguf)
    serving = Serving(engine, model, max_total_tokens or _longest(model, revision, files), 1, revision, gguf)
    if engine in PROGRAMS and shutil.which(PROGRAMS[engine]) is None:
        raise HFDistillError(f"there is no {PROGRAMS[engine]} on PATH, by which {engine} is started: install it")
    # llama.cpp and transformers spread no tensors: a server each, on one GPU.
    alone, wanted = engine in (LLAMACPP, OWN), tensor_parallel or 1
    if alone and wanted > 1:
        raise HFDistillError(
            f"--tensor_parallel {wanted}, but a server of {engine} is started on one GPU: leave it out, or take "
            f"--engine {VLLM}, {SGLANG} or {TGI}"
        )
    if wanted > max(len(memory), 1):
        raise HFDistillError(f"--tensor_parallel {wanted} is more than the {len(memory)} GPUs of this machine")
    if not memory:
        return serving, replicas or 1
    parallel = tensor_parallel or (1 if alone else choose_parallel(weight_bytes(files), memory))
    most = len(memory) // parallel
    if (replicas or 1) > most:
        each = f"{parallel} of its {len(memory)} GPUs" if parallel > 1 else "a GPU"
        raise HFDistillError(f"--replicas {replicas}, but this machine holds {most}, each on {each}: ask for no more")
    return replace(serving, tensor_parallel=parallel), replicas or most


def _longest(model: str, revision: str | None, files: dict[str, int]) -> int:
    if "config.json" not in files:
        return MOST_TOKENS
    from transformers import AutoConfig

    config = AutoConfig.from_pretrained(model, revision=revision).get_text_config(decoder=True).to_dict()
    return min(config.get("max_position_embeddings") or MOST_TOKENS, MOST_TOKENS)


def _gguf_here(model: str, revision: str | None, gguf: str | None) -> str:
    name = gguf or only_gguf(model, revision)
    if Path(model).is_dir():
        return str(Path(model) / name)
    from huggingface_hub import hf_hub_download

    from ..artifacts.errors import hub_errors

    with hub_errors("model", model):
        return hf_hub_download(model, name, revision=revision)


@contextmanager
def serving_here(serving: Serving, servers: int, folder: Path) -> Iterator[list[LocalTeacher]]:
    """Starts servers, and ends them and all that they started with the context, however it ends.

    Args:
        serving ([`~hfdistill.teacher.engines.Serving`]): what each of them is.
        servers (`int`): how many; each gets the next `serving.tensor_parallel` GPUs.
        folder (`Path`): for their logs.

    Yields:
        `list[LocalTeacher]`: them.
    """
    started: list[LocalTeacher] = []
    try:
        for index in range(servers):
            started.append(_start(serving, index, folder))
        yield started
    finally:
        running = [teacher.process.pid for teacher in started if teacher.process.poll() is None]
        end_gently(list(map(psutil.Process, running)), END_SECONDS)


def wait_until_ready(teachers: Sequence[LocalTeacher], seconds: float = START_SECONDS) -> None:
    """Returns when all servers answer.

    Raises:
        [`~hfdistill.errors.HFDistillError`]: if one ends before, or does not answer in time.
    """
    deadline, waiting = time.monotonic() + seconds, list(teachers)
    while waiting:
        check_all_running(teachers)
        if time.monotonic() > deadline:
            raise HFDistillError(f"{waiting[0].url} did not answer within {seconds:.0f} s; see {waiting[0].log}")
        waiting = [teacher for teacher in waiting if not answers(f"{teacher.url}/health")]
        time.sleep(_POLL_SECONDS if waiting else 0)


def check_all_running(teachers: Sequence[LocalTeacher]) -> None:
    """Raises: [`~hfdistill.errors.HFDistillError`]: if a server has ended, with its last words."""
    for teacher in teachers:
        check_running(teacher.process, Path(teacher.process.args[0]).name, teacher.log)


def _start(serving: Serving, index: int, folder: Path) -> LocalTeacher:
    from huggingface_hub import constants

    port, parallel = free_port(), serving.tensor_parallel
    count = len(gpu_memory())
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", ",".join(map(str, range(count)))).split(",")
    gpus = visible[index * parallel : (index + 1) * parallel] if count else []
    command = serving.command(port, gpus, f"hfdistill-teacher-{port}", constants.HF_HUB_CACHE)
    log = folder / f"teacher-{index}.log"
    folder.mkdir(parents=True, exist_ok=True)
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": ",".join(gpus)} if gpus else None
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=environment,
            start_new_session=True,
            preexec_fn=_die_with_parent if sys.platform == "linux" else None,
        )
    return LocalTeacher(process, f"http://127.0.0.1:{port}", log)


def _die_with_parent() -> None:
    # A killed `teacher up` cannot end its servers; the kernel does.
    ctypes.CDLL(None).prctl(_DIE_WITH_PARENT, signal.SIGTERM)


def note_of(run: RunConfig) -> Path:
    """File in which a run notes the teachers of this machine."""
    return Path(run.output_dir) / "teachers.json"


def write_note(run: RunConfig, teachers: Sequence[LocalTeacher], ready: bool) -> None:
    """Note which processes there are, and, once they are `ready`, where they answer."""
    processes = notes_of([os.getpid(), *(teacher.process.pid for teacher in teachers)])
    urls = [teacher.url for teacher in teachers] if ready else []
    note_of(run).parent.mkdir(parents=True, exist_ok=True)
    write_json(note_of(run), {"urls": urls, "processes": processes})


def urls_here(run: RunConfig) -> list[str]:
    """Where the run's teachers answer on this machine, as long as `hfdistill teacher up` watches them."""
    note = read_json(note_of(run))
    return note["urls"] if note and known_again(note["processes"][0]) else []


def check_none_up(run: RunConfig) -> None:
    """Raises: [`~hfdistill.errors.HFDistillError`]: if the run has teachers on this machine."""
    if any(map(known_again, read_json(note_of(run)).get("processes", []))):
        raise HFDistillError(f"run {run.name!r} has teachers on this machine already: `hfdistill teacher down` first")


def take_down(run: RunConfig) -> None:
    """End the run's teachers on this machine, and what a killed `hfdistill teacher up` left of them.

    Raises:
        [`~hfdistill.errors.HFDistillError`]: if none were started.
    """
    note = read_json(note_of(run))
    if not note:
        raise HFDistillError(f"run {run.name!r} has no teachers on this machine: start them by `hfdistill teacher up`")
    watching, *servers = note["processes"]
    if process := known_again(watching):
        process.terminate()
        deadline = time.monotonic() + 2 * END_SECONDS
        # Gone, or waiting for its parent to ask how it ended.
        while known_again(watching) and time.monotonic() < deadline:
            time.sleep(_POLL_SECONDS)
    end_gently([process for process in map(known_again, servers) if process], END_SECONDS)
    note_of(run).unlink(missing_ok=True)
