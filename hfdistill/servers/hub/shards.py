"""Weights in several safetensors files: what their index and their headers say."""

import json

from .contents import Blob


# Bytes of an index, and of all headers together.
MAX_TEXT = 1024 * 1024
MAX_FILES = 1000


def read_index(blob: Blob) -> dict:
    """What an index says: `metadata`, and the `files` that hold the tensors.

    Raises:
        `ValueError`: It is none.
    """
    if blob.size > MAX_TEXT:
        raise ValueError(f"the index is over {MAX_TEXT} bytes")
    found = json.loads(blob.read())
    files = found.get("weight_map") if isinstance(found, dict) else None
    names = list(dict.fromkeys(files.values() if isinstance(files, dict) else [None]))[: MAX_FILES + 1]
    if not all(isinstance(name, str) for name in names):
        raise ValueError("it is no index of safetensors files")
    if len(names) > MAX_FILES:
        raise ValueError(f"it names more than {MAX_FILES} files")
    return {"metadata": found.get("metadata"), "files": names}


def read_headers(files: dict[str, Blob]) -> dict:
    """The headers of safetensors files by name.

    Raises:
        `ValueError`: A file has none, or they are too long.
    """
    found, room = {}, MAX_TEXT
    for name, blob in files.items():
        with blob.open() as file:
            size = int.from_bytes(file.read(8), "little")
            room -= size
            if room < 0:
                raise ValueError(f"the files' headers are over {MAX_TEXT} bytes")
            found[name] = json.loads(file.read(size))
    return found
