"""Contents as they are kept: what is there stays unless it is damaged, and nobody but its owner reads the folder."""

import os
import stat

import pytest

from hfdistill.servers.hub.errors import HubError
from hfdistill.servers.hub.maintenance import check
from hfdistill.servers.hub.service import Hub

from .conftest import push
from .xet_uploads import flipped


@pytest.fixture
def state(tmp_path):
    hub = Hub(tmp_path / "hub")
    yield hub
    hub.close()


def test_what_is_there_stays(state) -> None:
    data = os.urandom(100_000)
    path = state.blobs.path(state.blobs.put(data, "alice"))
    before = path.stat()
    state.blobs.put(data, "bob")
    assert path.stat().st_ino == before.st_ino and path.stat().st_mtime_ns > before.st_mtime_ns
    assert [row["user"] for row in state.database.rows("SELECT user FROM uploads ORDER BY user")] == ["alice", "bob"]


@pytest.mark.parametrize("damage", ["flip", "cut", "longer", "gone", "parts"])
def test_what_is_damaged_is_taken_again(state, damage: str) -> None:
    data = os.urandom(100_000)
    sha256 = state.blobs.put(data, "alice")
    path = state.blobs.path(sha256)
    if damage == "parts":
        path.rename(path.with_suffix(".0"))
        path.with_suffix(".parts").write_text("[[0, 0, 7")
    elif damage == "gone":
        path.unlink()
    else:
        path.write_bytes({"flip": flipped(data, 70_000), "cut": data[:-1], "longer": data + b"x"}[damage])
    assert state.blobs.damage(sha256, len(data)) is not None
    state.blobs.put(data, "alice")
    assert check(state) == [] and state.blobs.find(sha256).read() == data
    assert list(path.parent.iterdir()) == [path]


def test_a_content_that_is_not_what_it_is_called(state) -> None:
    with pytest.raises(HubError, match="0000"), state.blobs.receive() as incoming:
        state.blobs.keep(incoming, "0" * 64, "alice")
    assert list(state.blobs.folder.iterdir()) == list(state.blobs.temporary.iterdir()) == []


def test_damaged_files_are_sent_again(api) -> None:
    """Clients send no file that they are told to be there."""
    data = os.urandom(200_000)
    push(api, "heal/model", a=data)
    hub = Hub(api.running.data)
    (path,) = hub.blobs.folder.glob("*/*/*")
    path.write_bytes(data[:1000])
    assert len(check(hub)) == 1
    push(api, "heal/model", a=data)
    assert check(hub) == [] and path.read_bytes() == data


def test_nobody_else_reads_a_hubs_folder(api, run_command, tmp_path) -> None:
    data, copy = api.running.data, tmp_path / "copy"
    push(api, "modes/model", a=os.urandom(200_000), b=os.urandom(3_000_000))
    api.running.request("GET", "/modes/model.git/info/refs?service=git-upload-pack")
    assert list(data.glob("git/*"))
    assert run_command("backup", copy, "--data", data).returncode == 0
    for folder in (data, copy):
        for path in (folder, *folder.rglob("*")):
            assert path.stat().st_mode & 0o077 == 0, path


def test_a_folder_that_was_open_to_others(tmp_path) -> None:
    (tmp_path / "hub").mkdir(0o755)
    Hub(tmp_path / "hub").close()
    assert stat.S_IMODE((tmp_path / "hub").stat().st_mode) == 0o700
