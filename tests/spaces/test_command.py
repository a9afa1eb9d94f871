"""`hfdistill space` against a Hub and a teacher's endpoint, all in processes of their own."""

import argparse
import json
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest

import hfdistill
import hfdistill.commands.space
from hfdistill.errors import HFDistillError


ROOT = Path(hfdistill.__file__).parents[1]

# What an unmodified client sees of the Space.
READ = """
import json
from huggingface_hub import HfApi, SpaceCard, hf_hub_download
api, repo = HfApi(), {"repo_id": "local/tiny-compare", "repo_type": "space"}
read = lambda name: open(hf_hub_download(filename=name, **repo)).read()
print(json.dumps({
    "commits": [commit.title for commit in api.list_repo_commits(**repo)],
    "files": api.list_repo_files(**repo),
    "space": json.loads(read("space.json")),
    "pins": read("requirements.txt").split(),
    "texts": "".join(map(read, ("space.json", "README.md", "hfdistill.json"))),
    "card": SpaceCard.load("local/tiny-compare").data.to_dict(),
    "policy": api.model_info("local/tiny-policy").sha,
}))
"""


def environment(**changes):
    kept = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    return {
        **kept,
        "PYTHONPATH": str(ROOT),
        "OMP_NUM_THREADS": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        **changes,
    }


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="module")
def on_hub(tmp_path_factory):
    """Variables of a process that sees a Hub with the tiny run."""
    folder = tmp_path_factory.mktemp("hub")
    command = [
        sys.executable,
        "-m",
        "hfdistill",
        "hub",
        "serve",
        "--port",
        "0",
        "--quiet",
        "--data",
        str(folder / "data"),
    ]
    with subprocess.Popen(command, env=environment(), stdout=subprocess.PIPE, text=True) as hub:
        url = hub.stdout.readline().strip().rpartition("=")[2]
        variables = environment(HF_ENDPOINT=url, HF_HOME=str(folder / "home"), HF_TOKEN="hf_any")
        script = Path(__file__).with_name("tiny_run.py")
        subprocess.run([sys.executable, str(script), str(folder)], check=True, env=variables, timeout=200)
        yield variables
        hub.terminate()


def space(variables, *arguments):
    command = [sys.executable, "-m", "hfdistill", "space", *arguments]
    return subprocess.run(command, env=variables, capture_output=True, text=True, timeout=120)


def test_deploy_makes_one_pinned_commit(on_hub):
    done_deploying = space(
        on_hub, "deploy", "tiny", "--teacher_endpoint", "http://127.0.0.1:8080", "--requirement", "my-task==1.0"
    )
    assert done_deploying.returncode == 0, done_deploying.stderr
    assert "/spaces/local/tiny-compare is published at" in done_deploying.stdout
    done = subprocess.run([sys.executable, "-c", READ], env=on_hub, capture_output=True, check=True)
    seen = json.loads(done.stdout)
    assert len([title for title in seen["commits"] if title.startswith("compare")]) == 1
    assert {"app.py", "README.md", "hfdistill/space/app.py", "hfdistill/space/templates/style.css"} <= set(
        seen["files"]
    )
    assert not [path for path in seen["files"] if "__pycache__" in path or path.startswith("hfdistill/servers")]
    assert seen["space"]["artifacts"]["policy"] == f"local/tiny-policy@{seen['policy']}"
    assert seen["space"]["student"].startswith("local/tiny-small@")
    assert "This Hub keeps no secrets: set TEACHER_ENDPOINT" in done_deploying.stdout
    assert "8080" not in seen["texts"]
    assert {"torch==2.13.0", "my-task==1.0"} <= set(seen["pins"])
    assert all("==" in pin and "+" not in pin for pin in seen["pins"])
    assert seen["card"]["sdk"] == "gradio"
    assert seen["card"]["suggested_hardware"] == "cpu-basic"
    assert set(seen["card"]["preload_from_hub"]) == {
        f"local/tiny-{kind}" for kind in ("small", "warmup", "reward", "policy")
    }
    assert "local/tiny-policy" in seen["card"]["models"]


@pytest.mark.slow
def test_open_serves_the_page_and_the_teacher_and_ends_both(on_hub):
    command = [sys.executable, "-m", "hfdistill", "space", "open", "local/tiny", "--port", str(free_port())]
    with subprocess.Popen(
        [*command, "--serve_teacher"], env=on_hub, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as page:
        lines = []
        for line in page.stdout:
            lines.append(line)
            if "The page is at" in line:
                break
        assert any("Serving the teacher local/tiny-large" in line for line in lines), lines
        url = re.search(r"http://127\.0\.0\.1:\d+", lines[-1])[0]
        with urllib.request.urlopen(url, timeout=20) as answer:
            assert answer.status == 200
        servers = subprocess.run(["pgrep", "-P", str(page.pid)], capture_output=True, text=True).stdout.split()
        assert len(servers) == 1
        page.send_signal(signal.SIGTERM)
        page.stdout.read()
        assert page.wait(60) == 0
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(url, timeout=5)
    assert not Path("/proc", servers[0]).exists()


def test_a_run_that_the_hub_does_not_have_is_one_sentence(on_hub):
    done = space(on_hub, "deploy", "local/none")
    assert done.returncode == 2
    assert "nothing of the run 'local/none' can be read" in done.stderr
    assert "Traceback" not in done.stderr


def call(*arguments):
    """The verb in this process; everything it needs is a folder."""
    parser = argparse.ArgumentParser()
    hfdistill.commands.space.add_parser(parser.add_subparsers())
    args = parser.parse_args(["space", *arguments])
    return args.func(args)


def test_mistakes_are_one_sentence(tiny, tmp_path):
    for arguments, message in (
        (["open", str(tmp_path / "none")], "nothing of the run .* can be read.*there is no folder"),
        (["open", tiny, "--teacher_endpoint", "http://user:s3cret@10.0.0.5"], "a user name.*token TEACHER_TOKEN"),
        (["open", "nowhere.yaml"], "no configuration at 'nowhere.yaml'"),
        (["open", tiny, "--serve_teacher", "--teacher_endpoint", "http://x"], "exclude each other"),
        (["deploy", tiny], "is a folder, and a Space reads from the Hub"),
    ):
        with pytest.raises(HFDistillError, match=message):
            call(*arguments)


def test_a_configuration_names_its_run(tiny, tmp_path):
    config = tmp_path / "run.yaml"
    config.write_text(f"run: {{name: tiny, push: false, output_dir: {Path(tiny).parents[1]}}}\n", encoding="utf-8")
    with pytest.raises(HFDistillError, match=f"'{tiny}' is a folder"):
        call("deploy", str(config))


def test_a_taken_port_is_told(tiny):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(HFDistillError, match="is taken or not ours to use: --port 0 takes a free one"):
            call("open", tiny, "--port", str(taken.getsockname()[1]))


# A page that keeps blind votes, as far as the dataset goes.
KEEP = """
import json
from huggingface_hub import HfApi, hf_hub_download
from hfdistill.space.blind import Pair, open_ledger
ledger = open_ledger("local/tiny-votes", "hf_any")
for verdict in ("a", "tie"):
    ledger.add(Pair("sums", 0, "q0", ("Teacher", "Ours"), ("x", "y"), (True, False)), verdict)
ledger.push()
repo = {"repo_id": "local/tiny-votes", "repo_type": "dataset"}
(name,) = [path for path in HfApi().list_repo_files(**repo) if path.startswith("votes/")]
print(open(hf_hub_download(filename=name, **repo)).read())
"""


@pytest.mark.slow
def test_blind_votes_are_kept_in_a_dataset(on_hub):
    done = subprocess.run([sys.executable, "-c", KEEP], env=on_hub, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]
    votes = [json.loads(line) for line in done.stdout.split("\n") if line]
    assert [vote["verdict"] for vote in votes] == ["a", "tie"]
    assert votes[0] == {"task": "sums", "question_id": "q0", "a": "Teacher", "b": "Ours"} | {
        key: votes[0][key] for key in ("verdict", "time")
    }
