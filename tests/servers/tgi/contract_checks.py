"""Loaded by schemathesis: what the contract says in words only."""

import schemathesis
from schemathesis import GenerationMode


# No schema says these: they are about the number of tokens, or about two fields; and 1.0 is an integer in JSON Schema.
TOGETHER = (
    "`inputs` tokens + `max_new_tokens` must be <= 128.",
    "`inputs` must have less than 127 tokens.",
    "`inputs` has no token",
    "you must use sampling when `best_of` is > 1",
    "`seed` must not be set when `best_of` > 1",
    ".0, expected u64",
    ".0, expected u32",
    ".0, expected i32",
)


@schemathesis.hook
def filter_case(context, case):
    """A stream has its status already when its parameters are looked at, so it refuses by an event."""
    negative = case.meta is not None and case.meta.generation.mode == GenerationMode.NEGATIVE
    return not (negative and isinstance(case.body, dict) and case.body.get("stream") is True)


@schemathesis.check
def allowed_is_served(context, response, case):
    """Whatever the schema allows, unless its parts do not go together."""
    if case.meta is None or case.meta.generation.mode != GenerationMode.POSITIVE or response.status_code == 200:
        return
    assert any(reason in response.text for reason in TOGETHER), f"refused though allowed: {response.text}"
