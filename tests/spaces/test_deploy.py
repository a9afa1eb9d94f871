import os
import subprocess
import sys
from pathlib import Path

import pytest

from hfdistill.artifacts import cards
from hfdistill.errors import HFDistillError
from hfdistill.kinds import COMPARE
from hfdistill.space import deploy, requirements
from hfdistill.space.settings import Settings, load_settings


def test_pins_are_what_is_installed():
    from importlib.metadata import version

    assert requirements.pin("torch==0.1") == f"torch=={version('torch').partition('+')[0]}"


def test_a_cpu_build_of_torch_comes_from_the_index_that_is_named():
    lines = requirements.space_requirements(["torch==0.1", "jinja2"], "gsm8k", ["more"], "https://example.org/cpu")
    assert lines[0] == "--extra-index-url https://example.org/cpu"
    assert lines[1].startswith("torch==")
    assert lines[1].endswith("+cpu")
    assert lines[2].startswith("jinja2==")
    assert lines[3:] == ["more"]


def test_hardware_is_one_of_the_hubs_and_brings_what_it_needs():
    assert deploy.needed_on("zero-a10g", None) == ["spaces"]
    assert deploy.needed_on("t4-small", None) == []
    with pytest.raises(HFDistillError, match="unknown hardware 'zero-a10', did you mean 'zero-a10g'"):
        deploy.needed_on("zero-a10", None)
    with pytest.raises(HFDistillError, match="for CPUs, which could not use zero-a10g"):
        deploy.needed_on("zero-a10g", "https://example.org/cpu")


@pytest.fixture
def plugin(tmp_path, monkeypatch):
    """A package that adds the task `syllables`; returns the folder of what is known of it."""
    folder = tmp_path / "my_tasks-1.2.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: my-tasks\nVersion: 1.2\n")
    (folder / "entry_points.txt").write_text("[hfdistill.tasks]\nsyllables = my_tasks:Syllables\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    return folder


def test_a_plug_in_comes_along_or_is_named(plugin):
    task = {"name": "syllables"}
    assert requirements.space_requirements([], task) == ["my-tasks==1.2"]
    (plugin / "direct_url.json").write_text('{"url": "file:///somewhere", "dir_info": {}}')
    with pytest.raises(
        HFDistillError, match="comes from the package my-tasks, which is installed from file:///somewh"
    ):
        requirements.space_requirements([], task)
    assert requirements.space_requirements([], task, ["my_tasks==1.3"]) == ["my_tasks==1.3"]


# Imports the page and answers a question with nothing on the path but what the requirements bring.
CLOSED = """
import importlib.metadata as metadata, re, sys
from packaging.requirements import Requirement
wanted, found = [Requirement(line) for line in sys.argv[2].split()], set()
wanted.append(Requirement("gradio"))
plain = lambda name: re.sub("[-_.]+", "-", name).lower()
while wanted:
    one = wanted.pop()
    try:
        needs = metadata.requires(one.name) or []
    except metadata.PackageNotFoundError:
        continue
    for need in map(Requirement, needs):
        extras = [{"extra": extra} for extra in one.extras or {""}]
        if need.marker is None or any(need.marker.evaluate(extra) for extra in extras):
            if (plain(need.name), tuple(need.extras)) not in found:
                found.add((plain(need.name), tuple(need.extras)))
                wanted.append(need)
    found.add((plain(one.name), ()))
names = {name for name, _ in found}
brings = metadata.packages_distributions()
barred = {top for top, owners in brings.items() if not {plain(owner) for owner in owners} & names} - {"hfdistill"}
import importlib.machinery
from importlib.machinery import PathFinder
class Hiding:
    find_distributions = PathFinder.find_distributions
    def find_spec(name, path=None, target=None):
        return None if name.partition(".")[0] in barred else PathFinder.find_spec(name, path, target)
sys.meta_path = [importlib.machinery.BuiltinImporter, importlib.machinery.FrozenImporter, Hiding]
import asyncio
from pathlib import Path
import hfdistill
assert Path(hfdistill.__file__).parents[1] == Path.cwd(), hfdistill.__file__
from hfdistill.space import app, render, explore
from hfdistill.space.compare import compare
from hfdistill.space.models import Models
from hfdistill.space.run import ShownRun
from hfdistill.space.settings import Settings
run = ShownRun(Settings(sys.argv[1]))
explore.explore(run, {})
render.run_page(run)
async def ask():
    async for now in compare(run, Models(), run.examples()["test"][0].question):
        pass
    return now
now = asyncio.run(ask())
assert [column.state for column in now.columns] == ["done"] * 4, [column.note for column in now.columns]
assert now.scoring == "done", now.scoring_note
app.build(app.Page(run.settings))
"""


@pytest.mark.slow
def test_a_space_needs_nothing_but_its_files_and_its_requirements(tiny, tmp_path):
    deploy.write_files(tmp_path, Settings(tiny))
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "HF_ENDPOINT")}
    command = [sys.executable, "-c", CLOSED, tiny, " ".join(deploy.page_requirements())]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr[-3000:]


def test_files_of_a_space(tmp_path):
    settings = Settings("me/run", {"policy": "me/run-policy@abc"})
    deploy.write_files(tmp_path, settings, ["my-task"])
    assert load_settings(tmp_path / "space.json", {}) == settings
    assert (tmp_path / "requirements.txt").read_text().endswith("my-task\n")
    package = tmp_path / "hfdistill"
    assert (package / "space" / "templates" / "comparison.html").is_file()
    assert not [part for part in deploy.NOT_SHOWN if (package / part).exists()]
    assert all((Path(deploy.__file__).parents[1] / part).is_dir() for part in deploy.NOT_SHOWN)


def test_the_folder_in_the_checkout_is_what_is_installed():
    """So that pushing it by hand makes the same Space."""
    source = deploy.space_folder()
    pins = (source / "requirements.txt").read_text().split()
    assert [requirements.pin(line) for line in pins] == pins
    data, _ = cards.split((source / "README.md").read_text(encoding="utf-8"))
    made = cards.metadata.space(COMPARE, {"run": "x", "parents": {}}, "me/x-compare")
    expected = {key: value for key, value in made.items() if key != "title" and value}  # a card has no empty keys
    assert {key: data[key] for key in expected} == expected
