"""The demo's stages on a Slurm: its own teacher, shared labelling, training and evaluation on two machines, a job that
is queued again.
"""

import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from hfdistill.kinds import CHAIN

from ..places.slurm_stub import Slurm


DEMO = Path(__file__).parents[2] / "recipes" / "configs" / "word_problems" / "demo.yaml"
SMALLER = {
    "warmup": {"num_train_epochs": 1},
    "reward": {"num_train_epochs": 1},
    "ppo": {"total_episodes": 256, "rollout_batch_size": 64, "value_warmup_updates": 1, "yardstick_samples": 2},
    "evaluate": {"votes": [2, 4]},
}
ON_TWO_MACHINES = {"compute_environment": "LOCAL_MACHINE", "distributed_type": "MULTI_GPU", "dynamo_backend": "NO"}
ON_TWO_MACHINES |= {"num_machines": 2, "num_processes": 2, "mixed_precision": "no", "same_network": True}


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_the_demo_s_stages_on_slurm(recipes, tmp_path):
    config = recipes.write_config("slurm", recipes.write_questions("slurm-questions"))
    sections, demo = yaml.safe_load(config.read_text()), yaml.safe_load(DEMO.read_text())
    sections |= {stage: {**demo[stage], **SMALLER.get(stage, {})} for stage in CHAIN}
    sections["run"]["name"] = "slurmed"
    del sections["teacher"]["endpoints"]
    config.write_text(yaml.safe_dump(sections))
    machines = tmp_path / "machines.yaml"
    machines.write_text(yaml.safe_dump(ON_TWO_MACHINES))
    with Slurm(tmp_path / "slurm") as slurm:
        environment = {**slurm.environment(), **recipes.environment, "OMP_NUM_THREADS": "1"}
        environment["PATH"] = slurm.environment()["PATH"]
        command = [sys.executable, "-m", "hfdistill", "run", str(config), "--on", "slurm", "--shards", "2"]
        command += ["--teachers", "1", "--accelerate_config", str(machines)]
        done = subprocess.run(command, env=environment, cwd=recipes.folder, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        deadline = time.monotonic() + 600
        while slurm.states()["slurmed-warmup"] == ["PENDING"]:
            assert time.monotonic() < deadline, slurm.states()
            time.sleep(0.5)
        number = next(number for number, job in slurm.jobs().items() if job["name"] == "slurmed-warmup")
        (slurm.folder / f"{number}.requeue").touch()  # as when a node is lost
        ended = slurm.wait(1000)
        logs = recipes.folder / "slurm" / "slurm" / "logs"
        output = {path.name: path.read_text() for path in logs.glob("*.log")}
        assert {state for states in ended.values() for state in states} == {"COMPLETED"}, output
    assert slurm.jobs()[number]["restarts"] == 1
    on_two_machines = {job["name"] for job in slurm.jobs().values() if job["options"].get("nodes") == "2"}
    assert on_two_machines == {f"slurmed-{stage}" for stage in CHAIN if stage != "label"}
    told = "".join(output.values())
    assert "shard 1/2 is complete" in told and "shard 2/2 is complete" in told
    for kind in ("labels", "warmup", "triples", "reward", "policy", "results"):
        assert told.count(f"slurmed-{kind} is published") == 1, kind
    assert not list((recipes.folder / "slurm" / "endpoints").glob("*"))  # the teacher went when nobody asked any more
    begun = [name.removeprefix("slurmed-") for name in slurm.order]
    assert begun.index("teacher-label:1") < begun.index("shards:1") < begun.index("label") < begun.index("warmup")
    assert begun[-2:] == ["teacher-evaluate:1", "evaluate"]
