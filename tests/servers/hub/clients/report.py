"""Runs a client's calls one by one and reports each as a line of JSON. Imports nothing of hfdistill."""

import json
import traceback
from collections.abc import Callable


def attempt(name: str, call: Callable[[], object]) -> object:
    """Makes a call; `False` counts as a failure, like an exception. An old client may not know the call yet."""
    try:
        result = call()
        status = "failed: returned False" if result is False else "ok"
    except Exception as error:
        traceback.print_exc()
        result, status = None, f"failed: {type(error).__name__}: {str(error).strip().splitlines()[-1]}"
        if "'HfApi' object has no attribute" in status or "got an unexpected keyword argument" in status:
            status = "not in this client"
    print(json.dumps({"call": name, "status": status}), flush=True)
    return result


def raises(kind: type[Exception], call: Callable[[], object]) -> bool:
    """Whether a call raises exactly this kind of error."""
    try:
        call()
    except kind as error:
        return type(error) is kind
    return False
