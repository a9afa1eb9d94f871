from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def data(benchmark_data: Path) -> str:
    """Folder of the benchmark files, as a task's option `path`."""
    return str(benchmark_data)
