"""Threads do not grow without end."""

import json

import pytest

from hfdistill.servers.hub import discussions
from hfdistill.servers.hub.accounts import OPEN_USER
from hfdistill.servers.hub.errors import HubError
from hfdistill.servers.hub.service import Hub


def test_what_a_thread_may_hold(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(discussions, "MAX_THREAD", 4000)
    hub = Hub(tmp_path / "hub")
    repo, _ = hub.repositories.create(OPEN_USER, "model", "sec", "m", False, None)
    num = hub.discussions.open(OPEN_USER, repo, "title", None, False)
    thread = hub.discussions.get(repo, num)
    comment = hub.discussions.comment(OPEN_USER, repo, thread, "first")
    for number in range(15):
        hub.discussions.edit_comment(OPEN_USER, repo, thread, comment, f"text {number}")
    (event,) = hub.discussions.events(thread)
    data = json.loads(event["data"])
    assert data["numEdits"] == 15 and data["latest"]["raw"] == "text 14"
    assert [old["raw"] for old in data["history"]] == [f"text {number}" for number in range(4, 14)]
    with pytest.raises(HubError, match="open another one"):
        hub.discussions.comment(OPEN_USER, repo, thread, "x" * 4000)
    with pytest.raises(HubError, match="open another one"):
        hub.discussions.edit_comment(OPEN_USER, repo, thread, comment, "x" * 4000)
    assert hub.discussions.set_status(OPEN_USER, repo, thread, "closed", None)
    hub.close()
