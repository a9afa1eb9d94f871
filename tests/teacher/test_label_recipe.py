"""The labelling recipe as users run it, against a stand-in endpoint; its artifact on a real Hub and in a folder."""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from huggingface_hub import HfApi


ROOT = Path(__file__).parents[2]
SERVE = "import sys; from hfdistill.servers.hub.app import serve; serve('127.0.0.1', 0, sys.argv[1], access_log=False)"
TASK = ("--task.name", "word_problems", "--task.train", "24", "--task.validation", "4", "--task.test", "10")
GRID = ("--high_samples", "2", "--low_temperatures", "0.7", "1.0", "--low_samples", "1")
REQUESTS = 28 * (1 + 3 * 2 + 2)


@pytest.fixture(scope="module")
def hub(tmp_path_factory):
    data = tmp_path_factory.mktemp("hub")
    process = subprocess.Popen([sys.executable, "-c", SERVE, str(data)], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    yield process.stdout.readline().strip().rpartition("HF_ENDPOINT=")[2]
    process.terminate()
    process.wait(timeout=40)


def environment(home, **more):
    clean = {key: value for key, value in os.environ.items() if not key.startswith("HF_")}
    return {
        **clean,
        "PYTHONPATH": str(ROOT),
        "HF_HOME": str(home),
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "OMP_NUM_THREADS": "1",
        **more,
    }


def command(url, home, *flags, name="run"):
    return [
        *(sys.executable, str(ROOT / "recipes" / "label_teacher.py")),
        *("--run.name", name, "--run.output_dir", str(home / name)),
        *("--teacher.model", "stand-in/teacher", "--teacher.endpoints", url),
        *TASK,
        *GRID,
        *flags,
    ]


def label(url, home, *flags, name="run", **more):
    return subprocess.run(
        command(url, home, *flags, name=name),
        env=environment(home / "hf", **more),
        cwd=home,
        capture_output=True,
        text=True,
        timeout=180,
    )


def table(folder, config):
    return pq.read_table(next((folder / config).glob("*.parquet"))).to_pylist()


LOCAL = ("--run.push", "false")


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory, lasting_stand_in):
    """Home of a run that nothing disturbed, and its endpoint."""
    home, endpoint = tmp_path_factory.mktemp("undisturbed"), lasting_stand_in()
    done = label(endpoint.url, home, *LOCAL)
    assert done.returncode == 0, done.stderr[-3000:]
    return home, endpoint


def parquet(folder, config):
    return next((folder / config).glob("*.parquet")).read_bytes()


def test_the_dataset_is_as_designed(undisturbed):
    home, endpoint = undisturbed
    folder = home / "run" / "artifacts" / "run-labels"
    responses, questions = table(folder, "responses"), table(folder, "questions")
    assert len(questions) == 28
    assert {row["split"] for row in questions} == {"train", "validation"}
    assert len(responses) == 28 * (4 * 2 + 2)
    keys = [(row["question_id"], row["temperature"], row["sample"]) for row in responses]
    assert keys == sorted(set(keys))
    assert {row["confidence"] for row in responses if row["temperature"] <= 0.3} == {"high"}
    assert {row["confidence"] for row in responses if row["temperature"] > 0.3} == {"low"}
    assert {row["voters"] for row in questions} == {8}
    greedy = [row for row in responses if row["temperature"] == 0]
    assert len(greedy) == 56
    assert len({(row["question_id"], row["response"]) for row in greedy}) == 28
    assert {(row["model"], row["endpoint_kind"]) for row in responses} == {("stand-in/teacher", "tgi")}
    assert all(not row["response"].endswith("Q:") for row in responses)
    assert sum(row["pseudo_label"] is not None for row in questions) > 10
    assert {row["label"] for row in responses} == {"correct", "incorrect", None}
    manifest = json.loads((folder / "hfdistill.json").read_text())
    assert manifest["cost"]["requests"] == REQUESTS
    assert manifest["metrics"]["served"]["model_sha"] == "a" * 40
    assert endpoint.control()["answered"] < REQUESTS + 25


def test_a_complete_dataset_needs_no_endpoint(undisturbed):
    home, _ = undisturbed
    again = label("http://127.0.0.1:9", home, *LOCAL)
    assert again.returncode == 0, again.stderr[-3000:]
    assert "is complete at" in again.stdout


def test_another_model_behind_the_name_of_a_complete_dataset_is_told(undisturbed, stand_in):
    home, same = undisturbed
    other = stand_in(sha="b" * 40)
    again = label(other.url, home, *LOCAL)
    assert again.returncode == 0, again.stderr[-3000:]
    assert "is complete at" in again.stdout
    assert f"endpoint {other.url} serves model_sha '{'b' * 40}', but" in again.stderr
    assert f"was made from '{'a' * 40}'" in again.stderr
    assert other.control()["answered"] == 0
    assert "warning" not in label(same.url, home, *LOCAL).stderr


def test_a_complete_journal_needs_no_endpoint(undisturbed):
    home, _ = undisturbed
    shutil.rmtree(home / "run" / "artifacts", ignore_errors=False)
    again = label("http://127.0.0.1:9", home, *LOCAL)
    assert again.returncode == 0, again.stderr[-3000:]
    assert "is published at" in again.stdout


def test_training_questions_in_a_benchmark_are_found(undisturbed, tmp_path):
    journal = Path("run") / "label" / "journal.sqlite"
    (tmp_path / journal).parent.mkdir(parents=True)
    shutil.copy(undisturbed[0] / journal, tmp_path / journal)
    asked = table(undisturbed[0] / "run" / "artifacts" / "run-labels", "questions")
    planted = next(row["question"] for row in asked if row["split"] == "train")
    sections = []
    for name, questions in (("clean", ["Why?", "Who?"]), ("planted", ["Why?", planted.upper() + "!"])):
        (tmp_path / name).mkdir()
        for split, rows in (("train", [planted]), ("test", questions)):
            lines = [json.dumps({"question": question}) + "\n" for question in rows]
            (tmp_path / name / f"{split}.jsonl").write_text("".join(lines))
        sections.append(f"{{name: generic, path: {tmp_path / name}, test_split: test, validation_share: 0}}")
    done = label("http://127.0.0.1:9", tmp_path, *LOCAL, "--benchmarks", *sections)
    assert done.returncode == 0, done.stderr[-3000:]
    folder = tmp_path / "run" / "artifacts" / "run-labels"
    found = json.loads((folder / "hfdistill.json").read_text())["metrics"]["overlap"]
    assert set(found) == {"word_problems test", "generic test", "generic-2 test"}
    assert [found[name]["exact"] for name in ("generic test", "generic-2 test")] == [0, 1]
    assert found["generic-2 test"]["questions"] == 2 and found["generic-2 test"]["copied"] == 1
    card = (folder / "README.md").read_text()
    assert "| exact | 0 | 0 | 1 |" in card and "listed" not in card


@pytest.mark.parametrize(
    ("benchmark", "message"),
    [
        ("{name: generic, path: nowhere}", "nowhere"),
        ("gsm_pluss", "did you mean 'gsm_plus'"),
        ("{name: word_problems, test: 0}", "has no test questions"),
        ("{name: generic", "is no YAML mapping"),
    ],
)
def test_a_benchmark_that_cannot_be_loaded_is_known_before_anything_is_asked(tmp_path, benchmark, message):
    done = label("http://127.0.0.1:9", tmp_path, *LOCAL, "--benchmarks", benchmark)
    assert done.returncode == 2, done.stdout + done.stderr
    assert message in done.stderr and "127.0.0.1" not in done.stderr and "Traceback" not in done.stderr


@pytest.mark.timeout(200)
def test_killed_and_resumed_the_dataset_has_the_same_bytes(tmp_path, stand_in, undisturbed):
    endpoint = stand_in(latency=0.05, limit=4)
    killed = subprocess.Popen(
        command(endpoint.url, tmp_path, *LOCAL, name="killed"),
        env=environment(tmp_path / "hf"),
        stdout=subprocess.PIPE,
    )
    while endpoint.control()["answered"] < 100:
        assert killed.poll() is None
        time.sleep(0.05)
    killed.kill()
    killed.communicate()
    resumed = label(endpoint.url, tmp_path, *LOCAL, name="killed")
    assert resumed.returncode == 0, resumed.stderr[-3000:]
    seen = endpoint.control()
    assert seen["answered"] <= REQUESTS + 21 + 2 * 4 + 64  # in flight at the kill, or in the group being written
    for config in ("responses", "questions", "gold"):
        resumed_bytes = parquet(tmp_path / "killed" / "artifacts" / "killed-labels", config)
        assert resumed_bytes == parquet(undisturbed[0] / "run" / "artifacts" / "run-labels", config)


@pytest.mark.timeout(250)
@pytest.mark.slow
def test_shards_make_the_same_bytes(tmp_path, stand_in, undisturbed):
    endpoint = stand_in()
    for index in range(1, 4):
        done = label(endpoint.url, tmp_path, *LOCAL, "--shard", f"{index}/3")
        assert done.returncode == 0, done.stderr[-3000:]
        assert f"shard {index}/3 is complete" in done.stdout
    endpoint.kill()  # the whole needs nobody any more
    done = label(endpoint.url, tmp_path, *LOCAL)
    assert done.returncode == 0, done.stderr[-3000:]
    for config in ("responses", "questions", "gold"):
        made = [parquet(home / "run" / "artifacts" / "run-labels", config) for home in (tmp_path, undisturbed[0])]
        assert made[0] == made[1]


def test_a_second_machine_waits_for_the_first_and_goes_on_from_the_hub(tmp_path, stand_in, hub):
    endpoint = stand_in(latency=0.05, limit=2)
    lost = subprocess.Popen(
        command(endpoint.url, tmp_path / "lost", "--run.namespace", "tester", "--sync_every", "2"),
        env=environment(tmp_path / "hf", HF_ENDPOINT=hub),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    api = HfApi(endpoint=hub, token=False)

    def shared():
        if not api.repo_exists("tester/run-labels", repo_type="dataset"):
            return []
        branches = api.list_repo_refs("tester/run-labels", repo_type="dataset").branches
        if "partial" not in [branch.name for branch in branches]:
            return []
        return api.list_repo_files("tester/run-labels", repo_type="dataset", revision="partial")

    while not any(file.endswith(".parquet") for file in shared()):
        assert lost.poll() is None, lost.communicate()[1][-3000:]
        time.sleep(0.2)
    endpoint.control(latency=20.0)
    (tmp_path / "second").mkdir()
    second = label("http://127.0.0.1:9", tmp_path / "second", "--run.namespace", "tester", HF_ENDPOINT=hub)
    assert second.returncode == 2 and "another process asks for the responses" in second.stderr, second.stderr
    lost.kill()
    lost.communicate()
    before = endpoint.control(latency=0)["answered"]
    (tmp_path / "fresh").mkdir()
    fresh = label(
        *(endpoint.url, tmp_path / "fresh", "--run.namespace", "tester", "--take_over", "true"), HF_ENDPOINT=hub
    )
    assert fresh.returncode == 0, fresh.stderr[-3000:]
    asked_by_the_fresh = endpoint.control()["answered"] - before
    assert asked_by_the_fresh < REQUESTS
    assert not shared()


@pytest.mark.parametrize(
    ("settings", "flags", "message"),
    [
        ({"final": False}, (), "responses holds a final answer that task"),
        ({"greedy_only": True}, (), "cannot vary the temperature"),
        ({"refuse": "Q"}, (), "Input validation error"),
        ({}, ("--teacher.max_requests", "100"), "stopped at the limit of teacher.max_requests"),
        ({}, ("--hihg_samples", "3"), "did you mean '--high_samples'"),
        ({}, ("--teacher.endpoints", "http://127.0.0.1:9"), "cannot be reached"),
        ({}, ("--labeler", "voet"), "did you mean 'vote'"),
    ],
)
def test_what_is_wrong_is_one_clear_error_before_more_is_bought(tmp_path, stand_in, settings, flags, message):
    endpoint = stand_in(**settings)
    done = label(endpoint.url, tmp_path, *LOCAL, *flags)
    assert done.returncode == 2, done.stdout + done.stderr
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert endpoint.control()["answered"] <= 140


def test_only_the_main_process_of_several_samples(tmp_path, stand_in):
    endpoint = stand_in()
    done = label(endpoint.url, tmp_path, *LOCAL, RANK="1")
    assert done.returncode == 0
    assert endpoint.control()["answered"] == 0


@pytest.mark.slow
def test_machines_without_a_common_folder_share_shards_by_the_hub(hub, tmp_path, stand_in):
    endpoint, bought, told = stand_in(), [], []
    for machine, flags in enumerate((["--shard", "1/2"], ["--shard", "2/2"], [])):
        home = tmp_path / f"machine-{machine}"
        home.mkdir()
        done = label(endpoint.url, home, "--run.namespace", "tester", *flags, name="sharded", HF_ENDPOINT=hub)
        assert done.returncode == 0, done.stderr[-3000:]
        bought.append(endpoint.control()["answered"] - sum(bought))
        told.append(done.stdout)
    assert "shard 1/2 is complete" in told[0] and "shard 2/2 is complete" in told[1]
    assert "sharded-labels is published" in told[2]
    assert bought[2] == 0 and REQUESTS <= sum(bought) < REQUESTS + 50
