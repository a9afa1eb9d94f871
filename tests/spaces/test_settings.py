import json

import pytest

from hfdistill.errors import HFDistillError
from hfdistill.space.settings import Settings, load_settings


@pytest.fixture
def written(tmp_path):
    path = tmp_path / "space.json"
    settings = Settings("me/run", artifacts={"policy": "me/run-policy@abc"}, student="me/base@def")
    path.write_text(settings.to_json(), encoding="utf-8")
    return path


def test_what_is_written_is_read(written):
    settings = load_settings(written, {})
    assert settings == Settings("me/run", artifacts={"policy": "me/run-policy@abc"}, student="me/base@def")
    assert settings.ref("policy") == "me/run-policy@abc"
    assert settings.ref("warmup") == "me/run-warmup"
    assert settings.title == "run"


def test_variables_win_over_the_file(written):
    variables = {"TEACHER_ENDPOINT": "http://127.0.0.1:1", "POLICY_REPO": "me/other", "TEACHER_TOKEN": "secret"}
    settings = load_settings(written, variables)
    assert (settings.run, settings.ref("policy"), settings.student) == ("me/run", "me/other", "me/base@def")
    assert settings.teacher_endpoint == "http://127.0.0.1:1"
    assert settings.teacher_token_env == "TEACHER_TOKEN"
    assert "secret" not in settings.to_json()
    assert "127.0.0.1" not in settings.to_json()


def test_pins_do_not_outlive_their_run(written):
    settings = load_settings(written, {"RUN": "you/another"})
    assert settings == Settings("you/another")


def test_variables_are_enough(tmp_path):
    assert load_settings(tmp_path / "none.json", {"RUN": "me/run"}) == Settings("me/run")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{}", "no run is named: set the variable RUN"),
        ("{", "is not valid JSON"),
        ("[1]", "must hold an object"),
        (
            '{"run": "me/run", "teacher_endpoint": "http://10.0.0.5"}',
            "set the endpoint as the secret TEACHER_ENDPOINT",
        ),
        ('{"run": "me/run", "artefacts": {}}', "did you mean 'artifacts'"),
        ('{"run": "me/run", "artifacts": {"polcy": "x"}}', "did you mean 'policy'"),
    ],
)
def test_mistakes_are_told(tmp_path, content, message):
    path = tmp_path / "space.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(HFDistillError, match=message):
        load_settings(path, {})


def test_file_holds_only_what_is_set():
    assert json.loads(Settings("me/run").to_json()) == {"run": "me/run"}
