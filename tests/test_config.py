"""The configuration: sections, flags, and one clear error for each mistake."""

from dataclasses import dataclass, field

import pytest

from hfdistill.config import RunConfig, load_config
from hfdistill.errors import HFDistillError
from hfdistill.fields import NO_EFFECT, section
from hfdistill.kinds import LABELS
from hfdistill.labels.config import LabelConfig


@section()
@dataclass
class Settings:
    threshold: float = 0.7
    temperatures: list[float] = field(default_factory=lambda: [0.0])
    output_dir: str = field(default="unset", metadata=NO_EFFECT)
    seed: int = 42
    samples: int = 5


@pytest.fixture
def path(tmp_path):
    def write(text: str) -> str:
        file = tmp_path / "run.yaml"
        file.write_text(text, encoding="utf-8")
        return str(file)

    return write


GOOD = """
run: {name: trial, seed: 3}
task: {name: gsm8k, shots: 2}
teacher: {model: big/model}
student: {model: small/model}
label: {threshold: 1e-1}
"""


def test_file_flags_and_defaults_come_together(path):
    flags = ["--samples", "7", "--temperatures", "0", "0.5", "--teacher.endpoints", "http://a", "--task.shots", "0"]
    config = load_config("label", Settings, ["--config", path(GOOD), *flags])
    assert config.run == RunConfig("trial", seed=3, output_dir="runs/trial")
    assert config.task == {"name": "gsm8k", "shots": 0}
    assert config.teacher.endpoints == ["http://a"]
    assert config.stage == Settings(0.1, [0.0, 0.5], "runs/trial/label", 3, 7)
    assert config.asked == vars(config.stage)


def test_the_suffix_keeps_an_ablation_apart(path):
    config = load_config("label", Settings, ["--config", path(GOOD), "--run.suffix=-wo-d"])
    assert config.stage.output_dir == "runs/trial/label-wo-d"


@pytest.mark.parametrize(
    ("value", "temperatures"), [("0.5", [0.5]), ("1e-1", [0.1]), ("[0, 1e-1]", [0.0, 0.1]), ("", [])]
)
def test_one_value_makes_a_list_of_one(path, value, temperatures):
    text = GOOD.replace("threshold: 1e-1", f"temperatures: {value}")
    assert load_config("label", Settings, ["--config", path(text)]).stage.temperatures == temperatures


@pytest.mark.parametrize("value", ["gsm_plus", {"name": "gsm_plus", "shots": 3}])
def test_one_name_or_mapping_makes_a_list_of_one(path, value):
    text = GOOD.replace("label: {threshold: 1e-1}", f"label: {{benchmarks: {value}}}")
    text = text.replace("big/model", "big/model, endpoints: http://a")
    config = load_config("label", LabelConfig, ["--config", path(text)])
    assert config.stage.benchmarks == config.asked["benchmarks"] == [value]
    assert config.teacher.endpoints == ["http://a"]


def test_identity_ignores_where_and_how_it_runs(path):
    here = load_config("label", Settings, ["--config", path(GOOD)]).identity(LABELS)
    there = load_config("label", Settings, ["--config", path(GOOD), "--output_dir", "elsewhere"]).identity(LABELS)
    other = load_config("label", Settings, ["--config", path(GOOD), "--threshold", "0.9"]).identity(LABELS)
    assert here == there
    assert here != other


@pytest.mark.parametrize(
    ("text", "flags", "message"),
    [
        (None, [], "no configuration at"),
        ("run: [", [], "is not valid YAML"),
        (GOOD + "lable: {}", [], "did you mean 'label'"),
        (GOOD.replace("threshold", "treshold"), [], "did you mean 'threshold'"),
        (GOOD.replace("seed", "sed"), [], "did you mean 'seed'"),
        (GOOD.replace("run: {name: trial, seed: 3}", ""), [], "no section 'run'"),
        (GOOD.replace("name: trial, ", ""), [], "no key 'name'"),
        (GOOD.replace("teacher: {model: big/model}", ""), [], "no section 'teacher'"),
        (GOOD.replace("task: {name: gsm8k, shots: 2}", ""), [], "no task.name"),
        (GOOD, ["--treshold", "0.5"], "did you mean '--threshold'"),
        (GOOD, ["--threshold", "high"], "invalid float value: 'high'"),
        (GOOD, ["--run.seed", "three"], "run.seed must be int, not 'three'"),
        (GOOD, ["--run.seed", "true"], "run.seed must be int, not True"),
        (GOOD.replace("threshold: 1e-1", "temperatures: [warm]"), [], "temperatures is ['warm']: could not convert"),
        (GOOD, ["stray"], "cannot place the argument 'stray'"),
        (GOOD, ["--run.seed"], "--run.seed needs a value"),
        ("label: 3", [], "section 'label' of"),
    ],
)
def test_mistakes_are_named(path, text, flags, message):
    file = path(text) if text is not None else "/nowhere/run.yaml"
    with pytest.raises(HFDistillError, match=r".") as caught:
        load_config("label", Settings, ["--config", file, *flags])
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
