"""Unmodified clients, each in a process of its own that knows nothing but HF_ENDPOINT, with Xet on and off."""

import pytest


@pytest.mark.parametrize("xet", [True, False], ids=["xet", "lfs"])
@pytest.mark.parametrize("script", ["hub_calls.py", "library_calls.py", "command_calls.py"])
def test_every_call_succeeds(hub, run_client, tmp_path, script: str, xet: bool) -> None:
    before = len(hub.requests())
    calls = run_client(script, hub, tmp_path, xet)
    assert [call for call in calls if call["status"] != "ok"] == []
    paths = [(line["method"], line["path"]) for line in hub.requests()[before:]]
    assert any(method == "POST" and "/v1/shards" in path for method, path in paths) == xet
    assert any(method == "PUT" and path.startswith("/_lfs/") for method, path in paths) or xet
