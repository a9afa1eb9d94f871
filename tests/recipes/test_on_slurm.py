"""A whole run on a Slurm: its own teacher, shared labelling, training on two machines, a job that is queued again."""

import subprocess
import sys
import time

import pytest
import yaml

from ..places.slurm_stub import Slurm


ON_TWO_MACHINES = {"compute_environment": "LOCAL_MACHINE", "distributed_type": "MULTI_GPU", "dynamo_backend": "NO"}
ON_TWO_MACHINES |= {"num_machines": 2, "num_processes": 2, "mixed_precision": "no", "same_network": True}


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_run_on_slurm(recipes, tmp_path):
    config = recipes.write_config("slurm", recipes.write_questions("slurm-questions"))
    sections = yaml.safe_load(config.read_text())
    sections["run"]["name"] = "slurmed"
    del sections["teacher"]["endpoints"]
    config.write_text(yaml.safe_dump(sections))
    machines = tmp_path / "machines.yaml"
    machines.write_text(yaml.safe_dump(ON_TWO_MACHINES))
    with Slurm(tmp_path / "slurm") as slurm:
        environment = {**slurm.environment(), **recipes.environment, "OMP_NUM_THREADS": "1"}
        environment["PATH"] = slurm.environment()["PATH"]

        def run(*flags: str) -> None:
            command = [
                sys.executable,
                "-m",
                "hfdistill",
                "run",
                str(config),
                "--on",
                "slurm",
                "--teachers",
                "1",
                *flags,
            ]
            done = subprocess.run(command, env=environment, cwd=recipes.folder, capture_output=True, text=True)
            assert done.returncode == 0, done.stderr

        run("--to", "ppo", "--shards", "2", "--accelerate_config", str(machines))
        logs = recipes.folder / "slurm" / "slurm" / "logs"

        def states(name: str) -> list[str]:
            return slurm.states()[f"slurmed-{name}"]

        def wait_for(name: str) -> None:
            deadline = time.monotonic() + 400
            while states(name) == ["PENDING"]:
                assert time.monotonic() < deadline, slurm.states()
                time.sleep(0.5)

        wait_for("warmup")
        number = next(number for number, job in slurm.jobs().items() if job["name"] == "slurmed-warmup")
        (slurm.folder / f"{number}.requeue").touch()  # as when a node is lost
        slurm.wait(800)
        run("--from", "evaluate", "--cpu")  # which finds several processes by their GPUs alone
        ended = slurm.wait(300)
        output = {path.name: path.read_text() for path in logs.glob("*.log")}
        assert {state for states in ended.values() for state in states} == {"COMPLETED"}, output
    assert slurm.jobs()[number]["restarts"] == 1
    told = "".join(output.values())
    assert "shard 1/2 is complete" in told and "shard 2/2 is complete" in told
    for kind in ("labels", "warmup", "triples", "reward", "policy", "results"):
        assert f"slurmed-{kind} is published" in told, kind
    assert not list((recipes.folder / "slurm" / "endpoints").glob("*"))  # the teacher went when nobody asked any more
    begun = [name.removeprefix("slurmed-") for name in slurm.order]
    assert begun.index("teacher-label:1") < begun.index("shards:1") < begun.index("label") < begun.index("warmup")
    assert begun[-2:] == ["teacher-evaluate:1", "evaluate"]
