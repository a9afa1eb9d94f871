import json
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest


STAND_IN = Path(__file__).with_name("standin.py")


class StandIn:
    """A stand-in endpoint in a process of its own."""

    def __init__(self, **settings):
        self.settings = settings
        self.start()

    def start(self):
        self.process = subprocess.Popen(
            [sys.executable, str(STAND_IN), json.dumps(self.settings)], stdout=subprocess.PIPE, text=True
        )
        self.port = int(self.process.stdout.readline())
        self.settings["port"] = self.port  # where it comes back after kill()
        self.url = f"http://127.0.0.1:{self.port}"

    def control(self, **changes):
        request = urllib.request.Request(f"{self.url}/control", data=json.dumps(changes).encode(), method="POST")
        with urllib.request.urlopen(request, timeout=10) as response:
            return json.load(response)

    def kill(self):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()


def _stand_ins():
    started = []

    def start(**settings):
        started.append(StandIn(**settings))
        return started[-1]

    yield start
    for endpoint in started:
        if endpoint.process.poll() is None:
            endpoint.kill()


@pytest.fixture
def stand_in():
    """Start stand-ins that end with the test."""
    yield from _stand_ins()


@pytest.fixture(scope="module")
def lasting_stand_in():
    """Start stand-ins that end with the module's last test."""
    yield from _stand_ins()
