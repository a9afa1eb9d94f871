"""Sampling from any decoder-only model: `generate` for a list of prompts, `DecodeLoop` for a running batch."""

from importlib import import_module

from .sampling import Generated, Sampling, row_seeds


__all__ = ["DecodeLoop", "Generated", "Row", "Sampling", "StopStrings", "generate", "row_seeds"]

# What needs torch, and in which file it is.
_HOMES = {"DecodeLoop": ".loop", "Row": ".loop", "StopStrings": ".stopping", "generate": ".offline"}


def __getattr__(name: str):
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name], __name__), name)
