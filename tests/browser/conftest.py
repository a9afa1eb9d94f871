import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from hfdistill.space.deploy import write_files
from hfdistill.space.settings import Settings


CHROMIUM = Path("/usr/bin/chromium")
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


# Findings of axe-core that keep somebody out, each with the element.
SERIOUS = """async () => (await axe.run(document, {resultTypes: ["violations"]})).violations
    .filter((finding) => ["serious", "critical"].includes(finding.impact))
    .flatMap((finding) => finding.nodes.map((node) => `${finding.id}: ${node.html.slice(0, 200)}`))"""


def findings(page) -> list[str]:
    """Serious findings of axe-core on what a page shows now."""
    base = pytest.importorskip("axe_playwright_python.base", reason="axe-playwright-python is not installed")
    page.evaluate(base.AXE_SCRIPT)
    return page.evaluate(SERIOUS)


@pytest.fixture(scope="session")
def playwright():
    module = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if not CHROMIUM.exists():
        pytest.skip(f"there is no browser at {CHROMIUM}")
    return module


@pytest.fixture(scope="module")
def browser(playwright):
    with playwright.sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=str(CHROMIUM), args=FLAGS)
        yield chromium
        chromium.close()


@pytest.fixture(scope="session")
def tiny(playwright, tiny) -> str:
    """The tiny run; not made where there is no browser."""
    return tiny


@contextmanager
def serve(folder: Path, settings: Settings) -> Iterator[str]:
    """Run a Space as the Hub does: its own files, in their own folder, and nothing else of ours on the path."""
    write_files(folder, settings)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {
        name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "HF_ENDPOINT", "RUN")
    }
    environment |= {"GRADIO_SERVER_PORT": str(port), "OMP_NUM_THREADS": "1", "NO_PROXY": "127.0.0.1"}
    if settings.teacher_endpoint:  # a secret, which is in no file
        environment["TEACHER_ENDPOINT"] = settings.teacher_endpoint
    log = folder / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "app.py"], cwd=folder, env=environment, stdout=output, stderr=subprocess.STDOUT
        )
    try:
        url = f"http://127.0.0.1:{port}"
        wait_for(url, process, log)
        yield url
    finally:
        process.terminate()
        process.wait(20)


def wait_for(url: str, process: subprocess.Popen, log: Path) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        assert process.poll() is None, log.read_text()
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            time.sleep(0.2)
    raise AssertionError(f"the Space did not start: {log.read_text()}")


@pytest.fixture(scope="module")
def space(tiny, tmp_path_factory) -> Iterator[str]:
    with serve(tmp_path_factory.mktemp("space"), Settings(tiny)) as url:
        yield url


@pytest.fixture(scope="module")
def space_without_teacher(tiny, tmp_path_factory) -> Iterator[str]:
    """A Space whose teacher's endpoint is down, and whose policy is gone."""
    settings = Settings(tiny, {"policy": f"{tiny}-gone"}, teacher_endpoint="http://127.0.0.1:9")
    with serve(tmp_path_factory.mktemp("dead"), settings) as url:
        yield url


@pytest.fixture
def page(browser):
    """A page that fails the test if it asks any other host for anything or throws an error."""
    page = browser.new_page(viewport={"width": 1400, "height": 900})
    hosts, errors = set(), []
    page.on("request", lambda request: hosts.add(urllib.parse.urlsplit(request.url).hostname))
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.set_default_timeout(60_000)
    yield page
    page.close()
    assert hosts <= {"127.0.0.1", None}
    assert errors == []
