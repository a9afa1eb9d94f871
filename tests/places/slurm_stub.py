"""A Slurm of one machine: `sbatch`, `squeue`, `scancel`, `scontrol` and `srun` as commands, and a scheduler that
executes scripts when what they wait for allows it.

As in Slurm, jobs get the environment of their submission, SLURM_* beside it, and their script as it was then. Nodes of
a job are processes of this machine. A job's time is nearly up when a test says so; nothing is known here of GPUs.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path


AT_ONCE = 4
OPEN, ENDED_BADLY = ("PENDING", "RUNNING"), ("FAILED", "CANCELLED")
STEP = 100  # between the numbers of two jobs: tasks of an array are numbered in between


def read(path: Path) -> dict:
    return json.loads(path.read_text())


def write(path: Path, content: dict) -> None:
    incoming = path.with_suffix(f".{os.getpid()}")
    incoming.write_text(json.dumps(content))
    incoming.replace(path)


def options_of(script: str) -> dict[str, str]:
    return dict(re.findall(r"^#SBATCH --([\w-]+)(?:=(.*))?$", script, re.MULTILINE))


class Slurm:
    """The scheduler, on a folder in which the commands leave what they are asked for."""

    def __init__(self, folder: Path):
        self.folder, self.commands = folder, folder / "bin"
        self.commands.mkdir(parents=True)
        for name in ("sbatch", "squeue", "scancel", "scontrol", "srun"):
            command = self.commands / name
            command.write_text(f'#!/bin/bash\nexec "{sys.executable}" "{Path(__file__).absolute()}" {name} "$@"\n')
            command.chmod(0o755)
        self.running: dict[str, subprocess.Popen] = {}
        self.order: list[str] = []  # tasks as they began
        self._ends = threading.Event()
        self._thread = threading.Thread(target=self._schedule)

    def environment(self) -> dict[str, str]:
        path = f"{self.commands}{os.pathsep}{os.environ['PATH']}"
        return {**os.environ, "PATH": path, "SLURM_STUB": str(self.folder)}

    def __enter__(self) -> "Slurm":
        self._thread.start()
        return self

    def __exit__(self, *error) -> None:
        self._ends.set()
        self._thread.join()
        for process in self.running.values():
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def jobs(self) -> dict[str, dict]:
        return {path.stem: read(path) for path in sorted(self.folder.glob("*.json"), key=lambda path: int(path.stem))}

    def states(self) -> dict[str, list[str]]:
        """The states of each job's tasks, by the job's name."""
        return {job["name"]: list(job["tasks"].values()) for job in self.jobs().values()}

    def wait(self, seconds: float) -> dict[str, list[str]]:
        """The states when nothing is left in the queue."""
        deadline = time.monotonic() + seconds
        while any(state in OPEN for states in self.states().values() for state in states):
            assert time.monotonic() < deadline, self.states()
            time.sleep(0.2)
        return self.states()

    def end_of_time(self, number: str) -> None:
        """Send a running job the signal that it asked for ahead of its time limit, to its shell alone."""
        kind, name = self.jobs()[number]["options"]["signal"].partition("@")[0].split(":")
        assert kind == "B"
        self.running[number].send_signal(signal.Signals[f"SIG{name}"])

    def _schedule(self) -> None:
        while not self._ends.wait(0.1):
            for number in self.jobs():
                self._look_at(number)

    def _look_at(self, number: str) -> None:
        path = self.folder / f"{number}.json"
        job = read(path)
        cancelled = (self.folder / f"{number}.cancel").is_file()
        for task, state in job["tasks"].items():
            key = f"{job['name']}:{task}" if task else job["name"]
            own = self._number(number, task)
            if state == "RUNNING":
                again = self.folder / f"{own}.requeue"
                if again.is_file() or cancelled:
                    os.killpg(self.running[own].pid, signal.SIGKILL)
                    self.running.pop(own).wait()
                    again.unlink(missing_ok=True)
                    job["restarts"] += 1
                    job["tasks"][task] = "CANCELLED" if cancelled else "PENDING"
                elif (status := self.running[own].poll()) is not None:
                    del self.running[own]
                    job["tasks"][task] = "COMPLETED" if status == 0 else "FAILED"
            elif state == "PENDING":
                verdict = "CANCELLED" if cancelled else self._may_begin(job)
                if verdict == "CANCELLED":
                    job["tasks"][task] = verdict
                elif verdict == "RUNNING" and len(self.running) < AT_ONCE:
                    self.running[own] = self._begin(job, number, task)
                    job["tasks"][task] = verdict
                    self.order.append(key)
        write(path, job)

    def _may_begin(self, job: dict) -> str:
        jobs = self.jobs()
        for kind, other in job["after"]:
            states = set(jobs[other]["tasks"].values())
            if kind == "afterok" and states & {*ENDED_BADLY}:
                return "CANCELLED"
            if (kind == "afterok" and states != {"COMPLETED"}) or (kind == "after" and "PENDING" in states):
                return "PENDING"
        return "RUNNING"

    def _number(self, number: str, task: str) -> str:
        return str(int(number) + int(task or 0))

    def _begin(self, job: dict, number: str, task: str) -> subprocess.Popen:
        own, options = self._number(number, task), job["options"]
        nodes = options.get("nodes", "1")
        environment = {
            **job["environment"],
            **{"SLURM_JOB_ID": own, "SLURM_NNODES": nodes, "SLURM_JOB_NODELIST": f"here[1-{nodes}]"},
            "SLURMD_NODENAME": "127.0.0.1",
            **({"SLURM_ARRAY_TASK_ID": task, "SLURM_ARRAY_TASK_COUNT": str(len(job["tasks"]))} if task else {}),
            **({"SLURM_RESTART_COUNT": str(job["restarts"])} if job["restarts"] else {}),
        }
        log = Path(options["output"].replace("%x", job["name"]).replace("%j", own))
        with log.open("a") as output:
            return subprocess.Popen(
                ["bash", "-c", job["script"]],
                env=environment,
                cwd=job["folder"],
                stdout=output,
                stderr=output,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )


def sbatch(folder: Path, arguments: list[str]) -> str:
    script = Path(arguments[-1]).read_text()
    given = dict(word.removeprefix("--").partition("=")[::2] for word in arguments[:-1])
    options = {**options_of(script), **given}
    if "partition" in options and options["partition"] != "cpu":
        sys.exit(f"sbatch: error: invalid partition specified: {options['partition']}")
    number = str(STEP * (1 + len(list(folder.glob("*.json")))))
    first, _, last = options.get("array", "").partition("-")
    content = {
        "name": options["job-name"],
        "script": script,
        "options": options,
        "after": [pair.split(":") for pair in options.get("dependency", "").split(",") if pair],
        "tasks": {str(n): "PENDING" for n in range(int(first), int(last) + 1)} if first else {"": "PENDING"},
        "restarts": 0,
        "environment": dict(os.environ),
        "folder": os.getcwd(),
    }
    write(folder / f"{number}.json", content)
    return f"{number};cluster" if "parsable" in given else f"Submitted batch job {number}"


def squeue(folder: Path, arguments: list[str]) -> str:
    assert {"--me", "--noheader"} <= {*arguments}, arguments
    name = {"--format=%F": False, "--format=%j": True}[arguments[-1]]
    jobs = {path.stem: read(path) for path in folder.glob("*.json")}
    lines = [
        job["name"] if name else number for number, job in jobs.items() for s in job["tasks"].values() if s in OPEN
    ]
    return "\n".join(lines)


def scancel(folder: Path, arguments: list[str]) -> str:
    for number in arguments:
        (folder / f"{number}.cancel").touch()
    return ""


def scontrol(folder: Path, arguments: list[str]) -> str:
    if arguments[0] == "requeue":
        (folder / f"{arguments[1]}.requeue").touch()
        return ""
    assert arguments == ["show", "hostnames", os.environ["SLURM_JOB_NODELIST"]]
    return "\n".join(["127.0.0.1"] * int(os.environ["SLURM_NNODES"]))


def srun(folder: Path, arguments: list[str]) -> str:
    command = [word for word in arguments if not word.startswith("--")]
    nodes = [
        subprocess.Popen([shutil.which(command[0]), *command[1:]], env={**os.environ, "SLURM_NODEID": str(node)})
        for node in range(int(os.environ["SLURM_NNODES"]))
    ]
    sys.exit(max(node.wait() for node in nodes))


if __name__ == "__main__":
    print(globals()[sys.argv[1]](Path(os.environ["SLURM_STUB"]), sys.argv[2:]))
