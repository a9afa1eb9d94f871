"""The benchmark for GPUs works at toy size, so that it is known to work where one is at hand."""

import json
import subprocess
import sys
from pathlib import Path

import pytest


ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_it_runs_at_toy_size(tmp_path):
    out = tmp_path / "figures.json"
    command = [sys.executable, str(ROOT / "benchmarks" / "gpu.py"), "--toy", "--json", str(out)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr
    rows = {row["what"]: row for row in json.loads(out.read_text())}
    assert "trl 1.12.0 is not there" in rows.pop("PPO: trl 1.12")["skipped"]
    assert len(rows) == 6
    assert all(row.get("tokens_per_s", 0) > 0 for row in rows.values()), done.stdout
