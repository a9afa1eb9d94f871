"""The page under the real package `spaces`, told by its own variable that it is on ZeroGPU. What lends the GPU is a
server of the test, and the GPU is this processor: without CUDA, what moves tensors there leaves them where they are.
"""

import http.server
import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

import hfdistill
from hfdistill.space.compare import compare
from hfdistill.space.models import Models
from hfdistill.space.zero_gpu import SECONDS

from .test_compare import columns, last


pytest.importorskip("spaces", reason="spaces is not installed")
pytestmark = pytest.mark.slow

# Asks each question given, and writes what came of it.
PAGE = """
import json, mmap, os, sys, torch
made = torch.tensor

def as_if_it_had_one():
    torch.tensor = lambda *given, device=None, **how: made(*given, **how)
    torch.Tensor.cuda = lambda tensor, **how: tensor.clone()
    torch.Tensor.pin_memory = lambda tensor: torch.frombuffer(mmap.mmap(-1, tensor.nbytes), dtype=torch.uint8)

os.register_at_fork(after_in_child=as_if_it_had_one)
torch.version.cuda, torch.cuda._is_in_bad_fork = "13.0", bool
torch._C._cuda_init = torch.cuda.synchronize = lambda: None
from pathlib import Path
from gradio_client import Client
from hfdistill.space.app import launch
from hfdistill.space.settings import Settings
page = launch(Settings(sys.argv[1]), server_name="127.0.0.1", quiet=True)
client = Client(page.local_url, verbose=False)
told = [client.predict(question, api_name="/compare") for question in sys.argv[3:]]
Path(sys.argv[2]).write_text(json.dumps(told))
page.close()
"""


TYPED = "Tom has 7 pens. Buys 5. How many pens are there now?"


class Lender(http.server.BaseHTTPRequestHandler):
    """As much of ZeroGPU as a call needs: who asks is lent a GPU of its own, until so many were lent."""

    lent, most, asked = 0, 0, []

    def do_POST(self):
        path, given = urlsplit(self.path).path, parse_qs(urlsplit(self.path).query)
        Lender.asked.append(path)
        if path != "/schedule":
            self._answer(200, {})
        elif Lender.lent < Lender.most:
            Lender.lent += 1
            assert given["durationSeconds"] == [str(SECONDS)]
            loan = {"idle": False, "nvidiaIndex": Lender.lent, "nvidiaUUID": "GPU-0", "allowToken": "one"}
            self._answer(200, loan)
        else:
            self._answer(429, {"left": 3, "wait": 60})

    def _answer(self, status, content):
        data = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *args):
        pass


@pytest.fixture
def lender():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Lender)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


def test_models_answer_and_score_where_a_gpu_is_lent_and_a_spent_quota_is_told(run, tiny, lender, tmp_path):
    (tmp_path / "cgroup").write_text("0::/space\n")
    question = run.examples()["test"][0].question
    Lender.most = 7  # three students, and the scores of four columns
    environment = {name: value for name, value in os.environ.items() if name != "HF_ENDPOINT"} | {
        "PYTHONPATH": str(Path(hfdistill.__file__).parents[1]),
        "HOME": str(tmp_path),
        "SPACES_ZERO_GPU": "true",
        "SPACES_ZERO_DEVICE_API_URL": lender,
        "ZEROGPU_PROC_SELF_CGROUP_PATH": str(tmp_path / "cgroup"),
        "ZEROGPU_OFFLOAD_DIR": str(tmp_path / "weights"),
    }
    told = tmp_path / "told.json"
    command = [sys.executable, "-c", PAGE, tiny, str(told), question, TYPED]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr[-3000:]
    first, second = json.loads(told.read_text())
    assert Lender.asked[0] == "/startup-report"
    assert Lender.asked.count("/release") == Lender.asked.count("/allow") == Lender.most
    here = columns(last(compare(run, Models(), question)))
    for model in first["models"]:
        assert model["state"] == "done"
        assert model["answers"][0]["text"] == here[model["role"]].samples[0].text
        assert model["answers"][0]["score"] == pytest.approx(here[model["role"]].samples[0].score, abs=1e-4)
    notes = {model["role"]: model["note"] for model in second["models"]}
    assert "ZeroGPU says: Space app has reached its GPU limit" in notes["policy"]
