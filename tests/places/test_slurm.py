"""Scripts for Slurm: what they say, that an edited one stays, and the order in which they are submitted."""

import os
import re
import subprocess
import time

import pytest
import yaml

from hfdistill.cli import main

from .slurm_stub import Slurm


SECTIONS = {
    "run": {"name": "trial", "push": False},
    "task": {"name": "word_problems", "train": 24, "validation": 4, "test": 10},
    "teacher": {"model": "some/teacher"},
    "student": {"model": "some/student"},
}
LAUNCH = "distributed_type: MULTI_GPU\nnum_machines: 2\nnum_processes: 8\n"


@pytest.fixture
def slurm(tmp_path, monkeypatch) -> Slurm:
    """Slurm's commands on the PATH; nothing that they are given begins."""
    slurm = Slurm(tmp_path / "slurm")
    monkeypatch.chdir(tmp_path)
    for name, value in slurm.environment().items():
        monkeypatch.setenv(name, value)
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(SECTIONS))
    (tmp_path / "two.yaml").write_text(LAUNCH)
    return slurm


def run(*flags: str, status: int = 0) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["run", "run.yaml", "--on", "slurm", *flags])
    assert ended.value.code == status


def script(tmp_path, name: str) -> str:
    path = tmp_path / "runs" / "trial" / "slurm" / f"{name}.sbatch"
    subprocess.run(["bash", "-n", str(path)], check=True)
    return path.read_text()


def test_scripts_are_to_be_read_and_edited(slurm, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_a_token_of_some_length")
    flags = ("--shards", "3", "--teachers", "2", "--accelerate_config", "two.yaml", "--sbatch", "partition=cpu")
    run(*flags, "--write")
    assert slurm.jobs() == {}
    shards, ppo, teacher = (script(tmp_path, name) for name in ("shards", "ppo", "teacher-label"))
    assert "--array=1-3" in shards and '--shard "$SLURM_ARRAY_TASK_ID/$SLURM_ARRAY_TASK_COUNT"' in shards
    assert "--gpus" not in shards and "#SBATCH --partition=cpu" in shards
    assert "--nodes=2" in ppo and "--gpus-per-node=4" in ppo
    assert '--machine_rank "$SLURM_NODEID"' in ppo and '--main_process_ip "$MAIN_ADDRESS"' in ppo
    assert "-e trial-shards -e trial-label <<<" in teacher and "--array=1-2" in teacher
    assert not any("hf_a_token" in script(tmp_path, name) for name in ("shards", "label", "ppo", "teacher-label"))

    edited = tmp_path / "runs" / "trial" / "slurm" / "ppo.sbatch"
    edited.write_text(ppo.replace("--nodes=2", "--nodes=2\n#SBATCH --mem=0"))
    run(*flags, "--write", "--set", "run.seed=3")
    assert f"{edited} was edited, and stays as it is" in capsys.readouterr().out
    assert "--mem=0" in edited.read_text() and "run.seed=3" not in edited.read_text()
    assert "run.seed=3" in script(tmp_path, "shards")


def test_jobs_wait_for_one_another_and_are_submitted_once(slurm, tmp_path, capsys):
    run("--shards", "3", "--teachers", "1")
    jobs = {job["name"]: (number, job["after"]) for number, job in slurm.jobs().items()}
    names = ["teacher-label", "shards", "label", "warmup", "reward", "ppo", "teacher-evaluate", "evaluate"]
    assert list(jobs) == [f"trial-{name}" for name in names]
    number = {name: jobs[f"trial-{name}"][0] for name in names}
    waits = {name: [tuple(pair) for pair in jobs[f"trial-{name}"][1]] for name in names}
    assert waits["shards"] == [("after", number["teacher-label"])]
    assert waits["label"] == [("afterok", number["shards"])]
    assert waits["teacher-evaluate"] == [("afterok", number["ppo"])]
    assert waits["evaluate"] == [("afterok", number["ppo"]), ("after", number["teacher-evaluate"])]
    run("--shards", "3", "--teachers", "1", status=2)
    told = capsys.readouterr().err
    assert "the run is in the queue already" in told and f"{number['ppo']} (ppo)" in told
    assert len(slurm.jobs()) == len(names)


@pytest.mark.parametrize(("restarts", "ends"), [(0, "COMPLETED"), (20, "FAILED")])
def test_a_job_whose_time_is_up_queues_again_twenty_times(slurm, tmp_path, monkeypatch, restarts, ends):
    monkeypatch.setenv("SLURM_RESTART_COUNT", str(restarts))
    run("--from", "warmup", "--to", "warmup", "--write")
    path = tmp_path / "runs" / "trial" / "slurm" / "warmup.sbatch"
    work = "echo turn >> turns; [ $(wc -l < turns) -gt 1 ] || exec sleep 60"
    path.write_text(re.sub(r"exec .*?\n}", f"{work}\n}}", path.read_text(), flags=re.DOTALL))
    with slurm:
        run("--from", "warmup", "--to", "warmup")
        (number,) = slurm.jobs()
        deadline = time.monotonic() + 60
        while not (tmp_path / "turns").is_file():
            assert time.monotonic() < deadline
            time.sleep(0.05)
        slurm.end_of_time(number)
        assert slurm.wait(60) == {"trial-warmup": [ends]}
    assert slurm.jobs()[number]["restarts"] == (ends == "COMPLETED")
    assert (tmp_path / "turns").read_text() == "turn\n" * (1 + (ends == "COMPLETED"))


def test_a_teacher_serves_until_nobody_is_seen_to_ask(slurm, tmp_path):
    run("--to", "label", "--teachers", "1", "--write")
    _, loop = script(tmp_path, "teacher-label").split("\nwhile ")
    queue = (
        "echo >> looks; case $(wc -l < looks) in 1) return 1;; 2) yes trial-label | head -n 99999;; *) echo x;; esac"
    )
    watch = f"set -uo pipefail; SERVER=$$; squeue() {{ {queue}; }}; while {loop.replace('sleep 20', 'sleep 0')}"
    subprocess.run(["bash", "-c", watch], check=False, cwd=tmp_path, timeout=30)
    assert len((tmp_path / "looks").read_text().splitlines()) == 3


def test_what_slurm_refuses_takes_back_what_went_before(slurm, tmp_path, capsys):
    run("--to", "reward", "--teachers", "1", "--write")
    path = tmp_path / "runs" / "trial" / "slurm" / "reward.sbatch"
    path.write_text(path.read_text().replace("#SBATCH --requeue", "#SBATCH --partition=gone"))
    run("--to", "reward", "--teachers", "1", status=2)
    assert "invalid partition specified: gone" in capsys.readouterr().err
    assert {path.stem for path in slurm.folder.glob("*.cancel")} == slurm.jobs().keys()


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--on", "local", "--shards", "3"], "--shards goes with --on slurm, and this is --on local"),
        (["--on", "local", "--accelerate_config", "two.yaml"], "two.yaml is for several machines"),
        (["--teachers", "1"], "names teacher.endpoints: give one of them"),
        (["--accelerate_config", "odd.yaml"], "num_processes 3 on num_machines 2: make it a multiple"),
    ],
)
def test_what_does_not_go_together_is_said(slurm, tmp_path, capsys, flags, message):
    (tmp_path / "odd.yaml").write_text(LAUNCH.replace("8", "3"))
    run(*flags, "--set", "teacher.endpoints=http://127.0.0.1:9", status=2)
    assert message in capsys.readouterr().err
    assert slurm.jobs() == {}


def test_a_machine_without_slurm_is_told(tmp_path, slurm, capsys, monkeypatch):
    monkeypatch.setenv("PATH", os.defpath)
    run("--teachers", "1", status=2)
    assert "there is no squeue here" in capsys.readouterr().err
