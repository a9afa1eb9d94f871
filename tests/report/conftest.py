from pathlib import Path

import pytest

from .made_tables import write_main, write_noise


@pytest.fixture(scope="session")
def tables(tmp_path_factory) -> Path:
    """A folder with two tables of two seeds each; copy it to change it."""
    folder = tmp_path_factory.mktemp("study")
    write_main(folder)
    return write_noise(folder)
