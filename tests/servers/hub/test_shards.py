"""Weights in several files, as huggingface_hub asks for what their headers say."""

import json

import pytest
from huggingface_hub import HfApi
from huggingface_hub.errors import HfHubHTTPError


def header(text: bytes, size: int | None = None) -> bytes:
    return (len(text) if size is None else size).to_bytes(8, "little") + text


def tensor(name: str) -> bytes:
    return header(json.dumps({name: {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}).encode()) + bytes(8)


@pytest.fixture
def api(hub) -> HfApi:
    return HfApi(endpoint=hub.url, token="any")


def push(hub, name: str, index: object, **files: bytes) -> str:
    repo = hub.create(name)
    added = [hub.file(f"w/{file}.safetensors", data) for file, data in files.items()]
    assert hub.commit(repo, hub.file("w/i.json", json.dumps(index).encode()), *added)[0] == 200
    return repo


def test_one_request_tells_what_reading_every_file_tells(hub, api) -> None:
    index = {"metadata": {"total_size": 16}, "weight_map": {"x": "a.safetensors", "y": "b.safetensors"}}
    repo = hub.create("split")
    files = [hub.file("a.safetensors", tensor("x")), hub.file("b.safetensors", tensor("y"))]
    assert hub.commit(repo, hub.file("model.safetensors.index.json", json.dumps(index).encode()), *files)[0] == 200
    assert api.get_sharded_safetensors_metadata(repo) == api.get_safetensors_metadata(repo)


@pytest.mark.parametrize(
    ("index", "file", "status", "why"),
    [
        ([1], b"", 422, "it is no index of safetensors files"),
        ({"weight_map": {"x": 1}}, b"", 422, "it is no index of safetensors files"),
        ({"weight_map": {str(n): str(n) for n in range(1001)}}, b"", 422, "it names more than 1000 files"),
        ({"weight_map": {"x": "a.safetensors"}}, b"", 422, "Expecting value"),
        ({"weight_map": {"x": "a.safetensors"}}, header(b"{}", 2**40), 422, "headers are over"),
        ({"weight_map": {"x": "b.safetensors"}}, b"", 404, "Entry not found"),
        ({"weight_map": {"x": "../i.json"}}, b"", 400, "path"),
    ],
)
def test_what_is_no_index_of_weights(hub, api, index: object, file: bytes, status: int, why: str) -> None:
    repo = push(hub, "odd", index, a=file)
    with pytest.raises(HfHubHTTPError, match=why) as refusal:
        api.get_sharded_safetensors_metadata(repo, filename="w/i.json")
    assert refusal.value.response.status_code == status
