"""Unmodified clients, the newest and two old ones, each in a process that knows nothing but HF_ENDPOINT."""

import pytest


@pytest.mark.parametrize(
    ("script", "xet"),
    [
        ("hub_calls.py", True),
        ("library_calls.py", True),
        ("command_calls.py", True),
        ("hub_calls.py", False),
        pytest.param("library_calls.py", False, marks=pytest.mark.slow),
        pytest.param("command_calls.py", False, marks=pytest.mark.slow),
    ],
)
def test_every_call_succeeds(hub, run_client, tmp_path, script: str, xet: bool) -> None:
    before = len(hub.requests())
    calls = run_client(script, hub, tmp_path, xet)
    assert [call for call in calls if call["status"] != "ok"] == []
    paths = [(line["method"], line["path"]) for line in hub.requests()[before:]]
    assert any(method == "POST" and "/v1/shards" in path for method, path in paths) == xet
    assert any(method == "PUT" and path.startswith("/_lfs/") for method, path in paths) or xet


@pytest.mark.slow
@pytest.mark.parametrize("xet", [True, False], ids=["xet", "lfs"])
@pytest.mark.parametrize("client", ["huggingface-hub-0.36", "huggingface-hub-1.1"])
def test_old_clients(hub, run_client, python_with, tmp_path, client: str, xet: bool) -> None:
    """Every call that an old client has already; without cards, which they send to huggingface.co to be checked."""
    calls = run_client("hub_calls.py", hub, tmp_path, xet, "without-cards", python=python_with(client), name=client)
    assert [call for call in calls if call["status"] not in ("ok", "not in this client")] == []
    assert sum(call["status"] == "ok" for call in calls) > 100
