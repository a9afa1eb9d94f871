"""Stores of xorbs: what one user sends is out of another's reach, and no file has other bytes than its name says."""

import hashlib
import json
import random
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hfdistill.servers.hub.direct_files import put
from hfdistill.servers.hub.errors import HubError
from hfdistill.servers.hub.maintenance import check, leftovers
from hfdistill.servers.hub.service import Hub
from hfdistill.servers.hub.xet import Unpacker
from hfdistill.servers.hub.xorbs import is_sound

from .xet_uploads import BOOKEND, Sender, Xorb, content, flipped, large_file, shard, xorb_of


draw = random.Random(0)
# Each long enough that a file made of it is linked to it, not copied.
XORBS = [Xorb([draw.randbytes(250_000) for _ in range(5)]) for _ in range(3)]


@pytest.fixture(scope="module")
def closed_hub(tmp_path_factory, served):
    data = tmp_path_factory.mktemp("closed") / "data"
    accounts = Hub(data).accounts
    tokens = {user: accounts.create_token(user, "default", "write") for user in ("alice", "bob")}
    hub = served(data)
    hub.tokens = tokens
    return hub


def test_xorbs_of_others(closed_hub) -> None:
    """Bob knows every hash of what Alice has sent to her private repository."""
    hub = closed_hub
    headers = {user: {"Authorization": f"Bearer {token}"} for user, token in hub.tokens.items()}
    for user in headers:
        hub.request("POST", "/api/repos/create", {"name": "model", "visibility": "private"}, headers[user])
    alice, bob = (Sender(hub, f"{user}/model", hub.tokens[user]) for user in ("alice", "bob"))
    xorb, evil = xorb_of(draw.randbytes(2_000_000)), xorb_of(b"evil" * 500_000)
    file = shard([xorb.segment()])
    data = content([xorb.segment()])
    sha256 = hashlib.sha256(data).hexdigest()

    def commit(user: str) -> int:
        lines = [{"key": "header", "value": {"summary": "push"}}, large_file("w.bin", data)]
        body = "\n".join(map(json.dumps, lines)).encode()
        return hub.request("POST", f"/api/models/{user}/model/commit/main", body, headers[user])[0]

    assert bob.xorb(xorb, body=evil.body)[0] == 400
    assert alice.xorb(xorb)[0] == 200 and alice.shard(file)[0] == 200 and commit("alice") == 200
    assert bob.xorb(xorb, body=evil.body)[0] == 400
    # Neither her xorb nor her file becomes his, whatever he says the sha256 is; and he does not learn it.
    for sent in (file, shard([xorb.segment()], sha256="0" * 64), shard([xorb.segment(0, 1)], listed=[])):
        status, answer = bob.shard(sent)
        assert status == 400 and sha256 not in answer
    assert commit("bob") == 400
    # Nor with her address: it needs her token.
    mine, bob.store = bob.store, alice.store
    assert bob.xorb(xorb)[0] == 403 and bob.shard(file)[0] == 403
    bob.store = mine
    for path in (f"/v1/xorbs/default/{xorb.name}", f"/v1/chunks/default/{xorb.name}", f"/v1/reconstructions/{sha256}"):
        assert hub.request("GET", f"{bob.store}{path}", headers=bob.headers)[0] in (404, 405)
    assert alice.shard(shard([xorb.segment(), xorb.segment(0, 3)]))[0] == 200
    got = hub.request("GET", "/alice/model/resolve/main/w.bin", headers=headers["alice"])[2]
    assert got == data
    assert bob.xorb(xorb) == (200, '{"was_inserted":true}') and bob.shard(file)[0] == 200 and commit("bob") == 200
    log = hub.log.read_text()
    assert xorb.name[:8] in log and xorb.name not in log and sha256 not in log
    assert not any(token in log for token in (*hub.tokens.values(), alice.headers["Authorization"][7:]))


@dataclass
class User:
    """Sends what is right and what is not, and knows what must come of it."""

    hub: Hub
    name: str
    sent: set[str] = field(default_factory=set)
    files: set[str] = field(default_factory=set)

    def xorb(self, index: int, named: int, flip: int | None) -> None:
        xorb, name = XORBS[index], XORBS[named].name
        body = xorb.body if flip is None else flipped(xorb.body, flip % len(xorb.body))
        try:
            with self.hub.blobs.receive(hashed=False) as incoming:
                unpacker = Unpacker(incoming)
                put(body, unpacker)
                unpacker.finish(name)
                self.hub.xorbs.keep(self.hub.xorbs.current(self.name), name, incoming)
        except HubError as error:
            assert error.status == 400 and (index != named or flip is not None)
        else:
            assert index == named and flip is None
            self.sent.add(name)

    def shard(self, runs: list[tuple[int, int]], other: int | None) -> None:
        """`other` is a xorb whose content's sha256 is announced in the place of the file's own."""
        segments = [XORBS[index].segment(start) for index, start in runs]
        own = hashlib.sha256(content(segments)).hexdigest()
        sha256 = own if other is None else hashlib.sha256(content([XORBS[other].segment()])).hexdigest()
        try:
            body = BytesIO(shard(segments, sha256))
            self.hub.xorbs.take_shard(self.hub.xorbs.current(self.name), body, self.name)
        except HubError as error:
            names = {segment.xorb.name for segment in segments}
            assert error.status == 400 and (sha256 != own or not names <= self.sent)
            self.sent.clear()
        else:
            assert sha256 == own and {segment.xorb.name for segment in segments} <= self.sent
            self.files.add(sha256)


indexes = st.integers(0, len(XORBS) - 1)
right = indexes.map(lambda index: ("xorb", index, index, None))
wrong = st.tuples(st.just("xorb"), indexes, indexes, st.none() | st.integers(0, 2**21))
shards = st.tuples(
    st.just("shard"),
    st.lists(st.tuples(indexes, st.integers(0, 4)), min_size=1, max_size=3),
    st.none() | indexes,
)
actions = st.lists(right | wrong | shards, max_size=8)


def race(data: Path, plans: list[list[tuple]]) -> None:
    """Runs each user's plan in a thread of its own, then looks at all that is kept."""
    hub = Hub(data)
    users = [User(hub, name) for name in ("alice", "bob")]

    def run(user: User, plan: list[tuple]) -> None:
        for kind, *arguments in plan:
            getattr(user, kind)(*arguments)

    with ThreadPoolExecutor() as pool:
        list(pool.map(run, users, plans))
    for path in hub.blobs.folder.glob("*/*/*"):
        assert hub.blobs.damage(path.stem) is None
    assert check(hub) == [] and leftovers(hub) == [] and list(hub.blobs.temporary.iterdir()) == []
    proven = {(row["user"], row["sha256"]) for row in hub.database.rows("SELECT * FROM uploads")}
    assert proven == {(user.name, sha256) for user in users for sha256 in user.files}
    hub.close()


@settings(max_examples=12, deadline=None)
@given(st.tuples(actions, actions))
def test_no_user_spoils_or_gains_what_another_sends(plans) -> None:
    with tempfile.TemporaryDirectory() as folder:
        race(Path(folder) / "hub", plans)


@pytest.mark.slow
@settings(max_examples=1000, deadline=None)
@given(st.tuples(actions, actions))
def test_no_user_spoils_or_gains_what_another_sends_at_length(plans) -> None:
    with tempfile.TemporaryDirectory() as folder:
        race(Path(folder) / "hub", plans)


def test_what_is_the_same_again_is_read_only_so_often(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("hfdistill.servers.hub.xorbs.MAX_REPEATED", 3_000_000)
    monkeypatch.setattr("hfdistill.servers.hub.xorbs.MAX_SHARED", 2_000_000)
    hub = Hub(tmp_path / "hub")
    User(hub, "alice").xorb(0, 0, None)
    store = hub.xorbs.current("alice")
    whole, files = XORBS[0].segment(), len(BOOKEND)

    def take(*shards: bytes) -> None:
        """One shard of the files of several, which list no xorb."""
        inner = b"".join(each[files : -2 * files] for each in shards)
        hub.xorbs.take_shard(store, BytesIO(shards[0][:files] + inner + BOOKEND + BOOKEND), "alice")

    one = shard([whole], listed=[])
    take(one, shard([XORBS[0].segment(0, 1)], listed=[]))
    take(shard([whole] * 2, listed=[]))
    with pytest.raises(HubError, match="may share 2000000 bytes"):
        take(one, one, one)
    with pytest.raises(HubError, match="may repeat at most 3000000 bytes"):
        take(shard([whole] * 4, listed=[]))
    hub.close()


@pytest.mark.parametrize("damage", ["flip", "cut", "empty", "gone"])
def test_damaged_xorbs_are_noticed_and_taken_again(tmp_path, damage: str) -> None:
    hub = Hub(tmp_path / "hub")
    user, xorb = User(hub, "alice"), XORBS[0]
    user.xorb(0, 0, None)
    path = hub.xorbs.path(hub.xorbs.current("alice"), xorb.name)
    data = path.read_bytes()
    if damage == "gone":
        path.unlink()
    else:
        path.write_bytes({"flip": flipped(data, 1000), "cut": data[:-1000], "empty": b""}[damage])
        assert not is_sound(path)
        assert check(hub) == [f"xorb {xorb.name} of store {path.parents[1].name} is damaged"]
    with pytest.raises(HubError) as refused:
        hub.xorbs.take_shard(path.parents[1].name, BytesIO(shard([xorb.segment()])), "alice")
    assert refused.value.status == 400
    # The same bytes again, at the address that the user has by now, and at the old one.
    assert hub.xorbs.current("alice") != path.parents[1].name
    user.xorb(0, 0, None)
    user.shard([(0, 0)], None)
    with hub.blobs.receive(hashed=False) as incoming:
        unpacker = Unpacker(incoming)
        put(xorb.body, unpacker)
        unpacker.finish(xorb.name)
        assert hub.xorbs.keep(path.parents[1].name, xorb.name, incoming)
    assert is_sound(path) and check(hub) == []
