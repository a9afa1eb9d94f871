"""What every test shares: no telemetry, no host but this machine, one thread a process."""

import os
from pathlib import Path

import pytest
from hypothesis import settings


os.environ.update(
    HF_HUB_DISABLE_TELEMETRY="1",
    HF_HUB_DISABLE_PROGRESS_BARS="1",
    HF_UPDATE_DOWNLOAD_COUNTS="0",
    GRADIO_ANALYTICS_ENABLED="False",
    TOKENIZERS_PARALLELISM="false",
)
os.environ.setdefault("OMP_NUM_THREADS", "1")

# A busy machine is no finding.
settings.register_profile("busy", deadline=None)
settings.load_profile("busy")

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="session")
def benchmark_data() -> Path:
    """Folder with GSM8K, GSM-Plus and the MMLU-Pro sample: HFDISTILL_DATA, else ../shared/data."""
    folder = Path(os.environ.get("HFDISTILL_DATA", ROOT.parent / "shared" / "data"))
    if not (folder / "gsm8k_train.jsonl").is_file():
        pytest.skip(f"no benchmark data in {folder}: set HFDISTILL_DATA")
    return folder
