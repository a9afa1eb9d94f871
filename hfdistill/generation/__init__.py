"""Sampling from any decoder-only model: `generate` for a list of prompts, `DecodeLoop` for a running batch."""

from .sampling import Generated, Sampling, row_seeds


__all__ = ["DecodeLoop", "Generated", "Row", "Sampling", "StopStrings", "generate", "row_seeds"]

_HOMES = {
    "DecodeLoop": "hfdistill.generation.loop",
    "Row": "hfdistill.generation.loop",
    "StopStrings": "hfdistill.generation.stopping",
    "generate": "hfdistill.generation.offline",
}


def __getattr__(name: str):
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)
