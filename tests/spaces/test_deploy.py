from pathlib import Path

from hfdistill.artifacts import cards
from hfdistill.kinds import COMPARE
from hfdistill.space import deploy
from hfdistill.space.settings import Settings, load_settings


def test_pins_are_what_is_installed():
    from importlib.metadata import version

    assert deploy.pin("torch==0.1") == f"torch=={version('torch').partition('+')[0]}"


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
    assert [deploy.pin(line) for line in pins] == pins
    data, _ = cards.split((source / "README.md").read_text(encoding="utf-8"))
    made = cards.metadata.space(COMPARE, {"run": "x", "parents": {}}, "me/x-compare")
    expected = {key: value for key, value in made.items() if key != "title" and value}  # a card has no empty keys
    assert {key: data[key] for key in expected} == expected
