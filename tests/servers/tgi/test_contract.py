import os
import subprocess
import sys
from pathlib import Path

import pytest


HERE = Path(__file__).parent
CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "negative_data_rejection",
    "missing_required_header",
    "unsupported_method",
    "allow_header_conformance",
    "allowed_is_served",
)


@pytest.mark.parametrize("examples", [5, pytest.param(1500, marks=[pytest.mark.slow, pytest.mark.timeout(3000)])])
def test_contract(server, tmp_path, examples):
    command = [sys.executable, "-m", "schemathesis.cli", "--no-color", "run", HERE / "openapi.yaml"]
    command += ["--url", server.url]
    command += ["--checks", ",".join(CHECKS), "--continue-on-failure", "--request-timeout", 120]
    command += ["--max-examples", examples, "--seed", 1, "--generation-database", "none"]
    environment = {**os.environ, "SCHEMATHESIS_HOOKS": "contract_checks", "PYTHONPATH": str(HERE)}
    done = subprocess.run(map(str, command), cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Selected: 7/7\n  Tested: 7\n" in done.stdout
