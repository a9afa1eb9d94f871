"""Work of the main process, which the others wait for."""

from pathlib import Path

import pytest

from hfdistill.training.shares import on_main_process

from ..launch import launch


def test_one_process_works_by_itself():
    assert on_main_process(lambda: 3) == 3


@pytest.mark.slow
def test_the_others_wait_as_long_as_it_takes(tmp_path):
    launch("ddp", Path(__file__).parent / "work_alone.py", str(tmp_path))
    assert {file.name: file.read_text() for file in tmp_path.iterdir()} == {"0": "0", "1": "0"}
