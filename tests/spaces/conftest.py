import pytest

from hfdistill.space.models import Models
from hfdistill.space.run import ShownRun
from hfdistill.space.settings import Settings


@pytest.fixture(scope="session")
def run(tiny) -> ShownRun:
    return ShownRun(Settings(tiny))


@pytest.fixture(scope="session")
def models() -> Models:
    return Models()
