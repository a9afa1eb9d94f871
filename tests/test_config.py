"""The configuration: sections, flags, and one clear error for each mistake."""

import json
from dataclasses import dataclass, field

import pytest

from hfdistill.config import RunConfig, load_config
from hfdistill.errors import HFDistillError
from hfdistill.fields import NO_EFFECT, section
from hfdistill.flags import RENAMED, stage_class, stage_flags
from hfdistill.kinds import LABELS, POLICY, RESULTS, REWARD, WARMUP
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


@pytest.mark.parametrize("words", [["--run.suffix=-wo-d"], ["--run.suffix", "-wo-d"], ["--run.suffix", "-1"]])
def test_the_suffix_keeps_an_ablation_apart(path, words):
    config = load_config("label", Settings, ["--config", path(GOOD), *words, "--samples", "3"])
    assert config.stage.output_dir == f"runs/trial/label{'-1' if words[-1] == '-1' else '-wo-d'}"
    assert config.stage.samples == 3


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


def read(stage, file, *flags):
    return load_config(stage, stage_class(stage), ["--config", file, *flags])


def test_identity_is_the_same_however_a_setting_is_given(path):
    """By file or flag, in any order, as 1 or 1.0, as a mapping or its JSON, with a default written out or not."""
    flags = ["--benchmarks", "gsm_plus", "--threshold", "0.5", "--high_temperatures", "0", "1"]
    by_flags = read("label", path(GOOD), *flags).identity(LABELS)
    written = GOOD.replace("shots: 2", "validation_share: 0.1, shots: 2.0").replace(
        "{threshold: 1e-1}",
        "{top_p: null, benchmarks: [{name: gsm_plus, shots: 3}], high_temperatures: [0.0, 1], threshold: 0.5}",
    )
    written = written.replace("shots: 2.0", "shots: 2")
    assert read("label", path(written)).identity(LABELS) == by_flags
    lines = GOOD.strip().splitlines()
    assert read("label", path("\n".join(reversed(lines))), *flags).identity(LABELS) == by_flags
    dotted = ["--label.benchmarks=[gsm_plus]", "--label.threshold=0.5", "--label.high_temperatures", "0", "1"]
    assert read("label", path(GOOD), *dotted).identity(LABELS) == by_flags
    kwargs = [read("warmup", path(GOOD), "--optim_args", value).identity(WARMUP) for value in ("a=1", "a=2")]
    assert kwargs[0] != kwargs[1]
    as_file = GOOD + "warmup: {lr_scheduler_kwargs: {b: 1, a: 2}}"
    as_flag = read("warmup", path(GOOD), "--lr_scheduler_kwargs", '{"a": 2.0, "b": 1}')
    assert read("warmup", path(as_file)).identity(WARMUP) == as_flag.identity(WARMUP)


def test_identity_is_of_what_was_asked_for_and_not_of_the_machine(path):
    identity = read("warmup", path(GOOD)).identity(WARMUP)
    assert identity["stage"]["bf16"] is None and identity["stage"]["learning_rate"] == 5e-6
    assert identity["student"] == {"pad_token": None, "chat": None}
    assert set(identity) == {"seed", "task", "stage", "student"}


def test_a_library_with_new_fields_makes_no_artifact_new(path):
    plain = read("warmup", path(GOOD)).identity(WARMUP)
    assert "packing" not in plain["stage"] and "neftune_noise_alpha" not in plain["stage"]
    changed = read("warmup", path(GOOD), "--neftune_noise_alpha", "5").identity(WARMUP)
    assert changed["stage"] == {**plain["stage"], "neftune_noise_alpha": 5}


def test_steps_count_where_they_choose_the_checkpoint(path):
    by_epoch = [read("warmup", path(GOOD), "--eval_steps", n).identity(WARMUP) for n in ("5", "7")]
    assert by_epoch[0] == by_epoch[1]
    steps = ["--eval_strategy", "steps", "--save_strategy", "steps", "--save_steps", "20"]
    # Without eval_steps, logging_steps stands in for it.
    by_steps = [read("warmup", path(GOOD), *steps, "--logging_steps", n).identity(WARMUP) for n in ("5", "10")]
    assert by_steps[0] != by_steps[1]
    assert read("warmup", path(GOOD), *steps, "--eval_steps", "5").identity(WARMUP) == by_steps[0]


@pytest.mark.parametrize(("stage", "kind"), [("warmup", WARMUP), ("reward", REWARD), ("ppo", POLICY)])
def test_what_chooses_a_checkpoint_counts_where_something_is_evaluated(path, stage, kind):
    choices = (
        [],
        ["--early_stopping_patience", "3"],
        ["--greater_is_better", "no"],
        ["--metric_for_best_model", "loss"],
    )

    def identities(strategy):
        flags = [
            "--eval_strategy",
            strategy,
            "--save_strategy",
            strategy,
            "--load_best_model_at_end",
            "no",
            "--use_cpu",
        ]
        return {json.dumps(read(stage, path(GOOD), *flags, *choice).identity(kind)) for choice in choices}

    assert len(identities("no")) == 1 and len(identities("epoch")) == 4


def test_the_tasks_length_stands_in_for_the_stages(path):
    asked = read("ppo", path(GOOD), "--max_completion_length", "512").identity(POLICY)
    assert read("ppo", path(GOOD)).identity(POLICY) == asked
    assert read("ppo", path(GOOD), "--max_completion_length", "511").identity(POLICY) != asked


def test_chat_is_chat_by_either_key(path):
    plain, chat, kind, tgi = (
        read("label", path(GOOD), *flags).identity(LABELS)["teacher"]
        for flags in ([], ["--teacher.chat=true"], ["--teacher.kind", "openai_chat"], ["--teacher.kind", "tgi"])
    )
    assert chat == kind == {"model": "big/model", "chat": True, "shots": 0}
    assert plain == tgi == {"model": "big/model", "chat": False}


def test_the_teacher_counts_in_evaluation_where_it_is_asked(path):
    asked = read("evaluate", path(GOOD), "--teacher.endpoints", "http://a").identity(RESULTS)
    elsewhere = read("evaluate", path(GOOD), "--teacher.endpoints", "http://b").identity(RESULTS)
    assert asked == elsewhere and asked["teacher"] == {"model": "big/model", "chat": False}
    without = [
        read("evaluate", path(GOOD), *flags).identity(RESULTS)
        for flags in ([], ["--teacher.model", "other"], ["--teacher", "false", "--teacher.endpoints", "http://a"])
    ]
    assert without[0] == without[1] == without[2] != asked and "teacher" not in without[0]


def test_a_judge_counts_by_its_model_and_not_by_its_address(path, monkeypatch):
    monkeypatch.setenv("JUDGE_KEY", "x")

    def judged(**options):
        flags = ["--labeler", "llm_judge", "--labeler_options", json.dumps(options)]
        return read("label", path(GOOD), *flags).identity(LABELS)

    here, there = (judged(model="judge", endpoint=url, api_key_env="JUDGE_KEY") for url in ("http://a", "http://b"))
    assert here == there == judged(model="judge", endpoint="http://a", verdicts=5)
    assert len({json.dumps(i) for i in (here, judged(), judged(model="other", endpoint="http://a"))}) == 3
    assert judged(endpoint="http://a") != judged(endpoint="http://b")
    assert "threshold" not in here["stage"]


def test_rows_that_are_named_as_by_default_are_the_default(path):
    rows = ["--models", "ICL=x/base", "Ours w/o R=x/warm", "Ours=x/policy"]
    assert read("evaluate", path(GOOD), *rows).identity(RESULTS) == read("evaluate", path(GOOD)).identity(RESULTS)
    assert read("evaluate", path(GOOD), *rows[:2]).identity(RESULTS)["stage"]["models"] == ["ICL"]


@pytest.mark.parametrize(("word", "value"), [([], True), (["true"], True), (["false"], False)])
def test_overwrite_edits_is_a_flag_of_every_stage(path, word, value):
    config = load_config("label", Settings, ["--config", path(GOOD), "--overwrite_edits", *word, "--samples", "7"])
    assert config.run.overwrite_edits is value and config.stage.samples == 7
    joined = [f"--overwrite_edits={word[0]}"] if word else ["--overwrite_edits"]
    assert load_config("label", Settings, ["--config", path(GOOD), *joined]).run.overwrite_edits is value


def test_a_setting_reaches_the_section_that_it_names(path):
    settings = ["run.seed=4", "warmup.learning_rate=1e-5", "warmup.max_length=null", "label.benchmarks=[gsm_plus]"]
    settings += ["task.stop=['\\n\\n', Q]", "teacher.endpoints=http://a"]
    warmup = read("warmup", path(GOOD), *stage_flags(settings, "warmup"))
    assert (warmup.run.seed, warmup.stage.learning_rate, warmup.stage.max_length) == (4, 1e-5, None)
    assert warmup.stage.seed == 4
    label = read("label", path(GOOD), *stage_flags(settings, "label"))
    assert label.stage.benchmarks == ["gsm_plus"] and label.teacher.endpoints == ["http://a"]
    assert stage_flags(settings, "ppo") == [
        f"--{setting}" for setting in settings if setting[:2] in ("ru", "ta", "te")
    ]
    # The stage's own flags win over its dotted ones.
    both = read("warmup", path(GOOD), "--warmup.learning_rate=1", "--learning_rate", "2")
    assert both.stage.learning_rate == 2


@pytest.mark.parametrize("stage", ["label", "ppo"])
@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("warmpu.learning_rate=1", "did you mean 'warmup'"),
        ("warmup.learning_rat=1", "did you mean 'learning_rate'"),
        ("run.sed=1", "did you mean 'seed'"),
        ("teacher.endpoint=x", "did you mean 'endpoints'"),
        ("warmup.learning_rate", "does not read section.key=value"),
        ("seed=1", "does not read section.key=value"),
        ("run.seed=[", "run.seed is '[', which is no YAML"),
        ("ppo.teacher=x/y", "ppo.teacher is ppo.labels now"),
        ("label.max_cost=3", "label.max_cost is teacher.max_cost now"),
    ],
)
def test_a_wrong_setting_is_named(path, stage, setting, message):
    with pytest.raises(HFDistillError) as caught:
        read(stage, path(GOOD), *stage_flags([setting], stage))
    assert message in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(("stage", "key"), [(s, key) for s, keys in RENAMED.items() for key in keys])
def test_a_renamed_key_is_told_its_name(path, stage, key):
    text = GOOD.replace("label: {threshold: 1e-1}", "") + f"{stage}: {{{key}: 1}}"
    with pytest.raises(HFDistillError) as caught:
        read(stage, path(text))
    assert str(caught.value).startswith(f"{stage}.{key} is {RENAMED[stage][key]} now")
    with pytest.raises(HFDistillError, match=f"{stage}.{key} is .* now, on the command line --"):
        read(stage, path(GOOD), f"--{key}", "1")


def test_rewards_that_are_a_repository_are_told_where_it_goes_now(path):
    for flags in (["--rewards", "x/run-rewards"], ["--ppo.rewards", "runs/x/artifacts/run-rewards"]):
        with pytest.raises(HFDistillError, match="ppo.triples now, on the command line --triples"):
            read("ppo", path(GOOD), *flags)


def test_a_reward_counts_with_every_option(path):
    by_name, written, minus, weighed = (
        read("ppo", path(GOOD), *stage_flags([f"ppo.rewards={value}"], "ppo")).identity(POLICY)
        for value in (
            "distilled",
            "[{name: distilled, variant: min, weight: 1}]",
            "{name: distilled, variant: minus}",
            "[{name: distilled, weight: 0.5}]",
        )
    )
    assert by_name == written == read("ppo", path(GOOD)).identity(POLICY)
    assert by_name != minus != weighed != by_name


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
        (
            GOOD.replace("threshold: 1e-1", "temperatures: [warm]"),
            [],
            "label.temperatures must be list[float], not ['warm']",
        ),
        (GOOD, ["stray"], "cannot place the argument 'stray'"),
        (GOOD, ["--run.seed"], "argument --run.seed: expected at least one argument"),
        (GOOD, ["--rum.seed", "1"], "did you mean 'run'"),
        (GOOD, ["--ppo.kl_coef", "1"], "--ppo.kl_coef is of another stage than 'label'"),
        (GOOD, ["--label.threshold=high"], "label.threshold must be float, not 'high'"),
        (GOOD.replace("1e-1", "true"), [], "label.threshold must be float, not True"),
        (GOOD.replace("1e-1", "[0.7]"), [], "label.threshold must be float, not [0.7]"),
        (GOOD.replace("name: trial", "name: null"), [], "run.name must be str, not None"),
        (GOOD.replace("big/model", "big/model, endpoints: [{a: b}]"), [], "teacher.endpoints must be list[str], not"),
        (GOOD, ["--label.treshold=1"], "did you mean 'threshold'"),
        (GOOD, ["--overwrite_edits=maybe"], "run.overwrite_edits must be bool, not 'maybe'"),
        ("label: 3", [], "section 'label' of"),
    ],
)
def test_mistakes_are_named(path, text, flags, message):
    file = path(text) if text is not None else "/nowhere/run.yaml"
    with pytest.raises(HFDistillError, match=r".") as caught:
        load_config("label", Settings, ["--config", file, *flags])
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_no_is_a_word_where_no_truth_is_asked_for(path):
    """YAML reads `no` as false."""
    for flags in (["--eval_strategy", "no"], ["--ppo.eval_strategy=no"], stage_flags(["ppo.eval_strategy=no"], "ppo")):
        stage = read("ppo", path(GOOD), *flags, "--use_cpu").stage
        assert stage.eval_strategy == "no" and not stage.load_best_model_at_end
        assert stage.early_stopping_patience is None
    file = path(GOOD + "ppo: {eval_strategy: no, few_shot: no, use_cpu: true}")
    assert read("ppo", file).stage.few_shot is False and not read("ppo", file).stage.eval_on_start
