import subprocess
import sys

import pytest


# How often Gradio looks for the source of one of its components while a page imports it.
COUNT = """
import ast
found, calls = ast.get_source_segment, []
ast.get_source_segment = lambda *args, **options: calls.append(1) or found(*args, **options)
from hfdistill.space.framework import gr
import inspect
print(len(calls), inspect.getfile(gr.HTML).endswith("html.py"))
"""


@pytest.mark.slow
def test_gradio_writes_no_stubs_while_a_page_starts():
    done = subprocess.run([sys.executable, "-c", COUNT], capture_output=True, text=True, timeout=100, check=True)
    assert done.stdout.split() == ["0", "True"]
