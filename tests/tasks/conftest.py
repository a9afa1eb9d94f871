import os
from pathlib import Path

import pytest
from hypothesis import settings


# A deadline an example measures how busy the machine is.
settings.register_profile("hfdistill", deadline=None)
settings.load_profile("hfdistill")


@pytest.fixture(scope="session")
def data() -> str:
    """Folder of the benchmark files."""
    default = Path(__file__).resolve().parents[3] / "shared" / "data"
    folder = Path(os.environ.get("HFDISTILL_DATA", default))
    if not folder.is_dir():
        pytest.skip(f"no benchmark data at {folder}; set HFDISTILL_DATA")
    return str(folder)
