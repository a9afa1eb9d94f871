"""JSON of strangers: no more than it weighs, and nothing in it that cannot be stored."""

import json
import re

from .errors import HubError, bad_request


# Texts weigh what they are; everything else grows twentyfold when it is read, so there may be less of it.
MAX_OUTSIDE_TEXTS = 1024 * 1024
TEXT = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)
# Half of a character; it has no UTF-8, so no database and no header takes it.
SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")


def parse_json(data: bytes, what: str) -> object:
    """What a text of JSON stands for.

    Args:
        data (`bytes`):
            The text.
        what (`str`):
            What it is, for the refusal: `"The body"`.

    Raises:
        [`HubError`]: 400, it is not JSON, nested too deep or holds half characters; 413, it holds too many values.
    """
    if len(data) > MAX_OUTSIDE_TEXTS and len(TEXT.sub(b"", data)) > MAX_OUTSIDE_TEXTS:
        raise HubError(413, f"{what} holds too many values.")
    try:
        # Decoded here: left to it, the parser would let half characters through.
        value = json.loads(data.decode())
        if SURROGATE.search(data):
            json.dumps(value, ensure_ascii=False).encode()
    except RecursionError as error:
        raise bad_request(f"{what} is nested too deep.") from error
    except ValueError as error:
        raise bad_request(f"{what} is not valid JSON: {error}") from error
    return value
