"""Gradio, imported without what a page does not need: `from .framework import gr`."""

import inspect
import os
from typing import Any


def _no_file_of_a_component(of: Any) -> str:
    """Each time that it is imported, Gradio parses the sources of its components to write stubs for editors, which is
    more than half of its import; a component without a file gets none.
    """
    if getattr(of, "__module__", "").startswith("gradio."):
        raise OSError
    return _getfile(of)


_getfile = inspect.getfile
# Read when Gradio is imported; nobody who opens this page asked to be counted.
os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")

inspect.getfile = _no_file_of_a_component
try:
    import gradio as gr  # noqa: F401
finally:
    inspect.getfile = _getfile
