"""A disk without a byte left: every write is refused in words, reading goes on, and nothing half is there after it."""

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=100m", "none", str(disk)], capture_output=True)
    if mounted.returncode:
        pytest.skip("a small disk of one's own needs the right to mount")
    yield disk
    subprocess.run(["umount", "--lazy", str(disk)], check=True)


def fill(disk: Path) -> Path:
    path = disk / "fill"
    with contextlib.suppress(OSError), path.open("wb", buffering=0) as file:
        while file.write(bytes(4096)):
            pass
    return path


def commit_body(*operations: dict) -> bytes:
    return "\n".join(map(json.dumps, [{"key": "header", "value": {"summary": "x"}}, *operations])).encode()


def test_every_write_is_refused_in_words(start_hub, small_disk: Path) -> None:
    hub = start_hub(small_disk / "hub")
    repo = hub.create("full")
    assert hub.commit(repo, hub.file("README.md", b"# kept"))[0] == 200
    _, _, opened = hub.request("POST", f"/api/models/{repo}/discussions", {"title": "t", "description": "d"})
    number = json.loads(opened)["num"]
    store = json.loads(hub.request("GET", f"/api/models/{repo}/xet-write-token/main")[2])
    filling = fill(small_disk)
    large = {"operation": "upload", "objects": [{"oid": "a" * 64, "size": 1000}]}
    writes = [
        ("POST", "/api/repos/create", {"name": "more", "organization": "sec"}, 507),
        ("POST", f"/api/models/{repo}/commit/main", commit_body(hub.file("a", b"a" * 3_000_000)), 507),
        ("POST", f"/api/models/{repo}/commit/main", commit_body(hub.file("a", os.urandom(30_000))), 507),
        ("POST", f"/api/models/{repo}/commit/main?create_pr=1", commit_body(hub.file("a", os.urandom(30_000))), 507),
        ("POST", f"/{repo}.git/info/lfs/objects/batch", large, 507),
        ("POST", f"/api/models/{repo}/preupload/main", {"files": [{"path": "a.bin", "size": 9, "sample": ""}]}, 507),
        ("POST", f"/api/models/{repo}/discussions", {"title": "t", "description": "d" * 50_000}, 507),
        ("POST", f"/api/models/{repo}/discussions/{number}/comment", {"comment": "c" * 50_000}, 507),
        # Xet clients retry every 5xx for minutes.
        ("POST", f"{store['casUrl'].removeprefix(hub.url)}/v1/xorbs/default/{'a' * 64}", b"x" * 1000, 413),
    ]
    headers = {"Authorization": f"Bearer {store['accessToken']}"}
    for method, path, body, status in writes:
        answer, _, content = hub.request(method, path, body, headers if "_cas" in path else None)
        assert answer == status and b"disk" in content, (path, answer, content)
    assert hub.request("GET", f"/{repo}/resolve/main/README.md")[2] == b"# kept"
    assert b"<h1>kept" in hub.request("GET", f"/{repo}", headers={"Accept": "text/html"})[2]
    filling.unlink()
    assert hub.commit(repo, hub.file("b", os.urandom(30_000)))[0] == 200
    assert list((hub.data / "blobs" / "tmp").iterdir()) == []
    assert hub.stop() == 0
    assert "no problem found" in hub.fsck()


PUSH = """
import os, sys
from pathlib import Path
from huggingface_hub import HfApi
from hfdistill.artifacts.push import push_files
from hfdistill.errors import HFDistillError
try:
    push_files(HfApi(), "sec/full", "model", {Path(name).name: Path(name) for name in sys.argv[1:]}, "complete-f", "x")
except HFDistillError as error:
    print(error)
"""


def test_an_artifacts_push_names_the_full_disk(
    start_hub, small_disk: Path, tmp_path: Path, client_environment
) -> None:
    hub = start_hub(small_disk / "hub")
    hub.create("full")
    fill(small_disk)
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(os.urandom(300_000))
    done = subprocess.run(
        [sys.executable, "-c", PUSH, str(weights)],
        env=client_environment(HF_ENDPOINT=hub.url, HF_HOME=str(tmp_path / "home")),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert "with 507 (No room on the Hub's disk" in done.stdout and "network" not in done.stdout, done.stderr
