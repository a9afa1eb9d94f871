from pathlib import Path

import pytest
from hypothesis import settings


# A deadline an example measures how busy the machine is.
settings.register_profile("hfdistill", deadline=None)
settings.load_profile("hfdistill")


@pytest.fixture(scope="session")
def data(benchmark_data: Path) -> str:
    """Folder of the benchmark files, as a task's option `path`."""
    return str(benchmark_data)
