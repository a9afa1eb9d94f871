"""Loaded by schemathesis: what the contract allows is served, unless its parts do not go together."""

import schemathesis
from schemathesis import GenerationMode


# No schema says these: they are about the number of tokens, or about two fields.
TOGETHER = (
    "`inputs` tokens + `max_new_tokens` must be <= 128.",
    "`inputs` must have less than 127 tokens.",
    "`inputs` has no token",
    "you must use sampling when `best_of` is > 1",
    "`seed` must not be set when `best_of` > 1",
)


@schemathesis.check
def allowed_is_served(context, response, case):
    if case.meta is None or case.meta.generation.mode != GenerationMode.POSITIVE or response.status_code == 200:
        return
    error = response.json()["error"].removeprefix("Input validation error: ")
    assert error.startswith(TOGETHER), f"refused though the contract allows it: {error}"
