"""A deployed Space from its own files, in an environment that has what its requirements name and nothing else."""

import os
import subprocess
import sys
import time

import pytest
from gradio_client import Client

from .test_command import free_port, on_hub, space  # noqa: F401  # a fixture


pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]

DOWNLOAD = """
import sys
from huggingface_hub import SpaceCard, snapshot_download
snapshot_download("local/tiny-compare", repo_type="space", local_dir=sys.argv[1])
print(SpaceCard.load("local/tiny-compare").data.sdk_version)
"""


@pytest.fixture
def page(on_hub, tmp_path):  # noqa: F811
    """Address of a Space that was deployed, downloaded, installed and started."""
    assert space(on_hub, "deploy", "tiny").returncode == 0
    files, log = tmp_path / "space", tmp_path / "log"
    download = [sys.executable, "-c", DOWNLOAD, str(files)]
    gradio = subprocess.run(download, env=on_hub, capture_output=True, text=True, check=True).stdout.strip()
    subprocess.run([sys.executable, "-m", "venv", str(tmp_path / "venv")], check=True)
    python = tmp_path / "venv" / "bin" / "python"
    install = [str(python), "-m", "pip", "install", "--quiet", "-r", str(files / "requirements.txt")]
    done = subprocess.run([*install, f"gradio=={gradio}"], capture_output=True, text=True)
    if "No matching distribution" in done.stderr:
        pytest.skip("no index of packages is in reach")
    assert done.returncode == 0, done.stderr[-2000:]
    port = free_port()
    environment = {name: value for name, value in on_hub.items() if name != "PYTHONPATH"}
    environment |= {"GRADIO_SERVER_PORT": str(port), "PATH": f"{python.parent}{os.pathsep}{os.environ['PATH']}"}
    with (
        log.open("wb") as output,
        subprocess.Popen([python, "app.py"], cwd=files, env=environment, stdout=output, stderr=output) as process,
    ):
        deadline = time.monotonic() + 120
        while b"Running on" not in log.read_bytes():
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.2)
        yield f"http://127.0.0.1:{port}"
        process.terminate()


def test_every_model_answers_and_is_scored(page):
    client = Client(page, verbose=False)
    stored = client.predict(api_name="/results")
    assert stored["total"] == 5
    told = client.predict(stored["questions"][0]["question"], api_name="/compare")
    assert [model["state"] for model in told["models"]] == ["done"] * 4
    assert all(model["answers"][0]["score"] is not None for model in told["models"])
