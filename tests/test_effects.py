"""Every field of every section does what it says: it changes the fingerprint of an artifact, or it does not."""

import dataclasses
import json

import pytest
import yaml

from hfdistill.artifacts.manifest import fingerprint
from hfdistill.config import load_config
from hfdistill.fields import effects_of
from hfdistill.flags import stage_class
from hfdistill.kinds import KINDS, STAGES
from hfdistill.sections import SHARED
from hfdistill.tasks import load_task, resolved


SECTIONS = {
    "run": {"name": "trial"},
    "task": {"name": "word_problems"},
    "teacher": {"model": "big/model", "endpoints": ["http://a"], "gpu_hour_price": 1.0},
    "student": {"model": "small/model"},
    "peft": {"r": 8},
}
MADE = [kind for kind in KINDS.values() if kind.stage in STAGES]

# Fields that matter beside others only.
BESIDE = {
    "labeler": {"labeler_options": {"endpoint": "http://a"}},
    "labeler_options": {"labeler": "llm_judge", "labeler_options": {"endpoint": "http://a"}},
    "vote_rows": {"votes": [4]},
    "vote_temperature": {"votes": [4]},
    "eval_steps": {"eval_strategy": "steps"},
    "save_steps": {"save_strategy": "steps"},
    "kl_horizon": {"kl_target": 6.0},
    "transformers_continuous_batching_config": {"use_transformers_continuous_batching": True},
    "vllm_importance_sampling_correction": {"use_vllm": True},
    "vllm_importance_sampling_clip_max": {"use_vllm": True},
    "yardstick_samples": {"yardstick": "agreement"},
    "label_every": {"moving_labels": "fail"},
    "label_samples": {"moving_labels": "fail"},
    "label_threshold": {"moving_labels": "fail"},
    "label_weighting": {"moving_labels": "fail"},
}
IN_PPO = {"num_train_epochs": {"total_episodes": None}, "max_steps": {"total_episodes": None}}

# Other values where a made-up one would be refused, or mean the same.
OTHER = {
    "pairs": "near",
    "labeler": "llm_judge",
    "labeler_options": {"endpoint": "http://a", "verdicts": 7},
    "judge": {"endpoint": "http://a"},
    "benchmarks": ["gsm_plus"],
    "models": ["Ours=x/y"],
    "votes": [4],
    "rewards": ["brief"],
    "target_modules": ["q_proj"],
    "label_weighting": "none",
    "shard": "1/2",
    "top_p": 0.5,
    "operations": [2, 4],
    "dtype": "bfloat16",
    "chat_template_kwargs": {"enable_thinking": False},
    "extra_body": {"chat_template_kwargs": {"enable_thinking": False}},
}


def other(name, value):
    """Another value of the same type, a number or a text where there was none."""
    if name in OTHER:
        return OTHER[name]
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value + 1
    if isinstance(value, float):
        return value + 0.125
    if isinstance(value, list | tuple):
        return [*value, value[-1] if value else "x"]
    return "x" if isinstance(value, str) else 7


@pytest.fixture(scope="module")
def configs(tmp_path_factory):
    file = tmp_path_factory.mktemp("effects") / "run.yaml"
    file.write_text(yaml.safe_dump(SECTIONS))
    return {stage: load_config(stage, stage_class(stage), ["--config", str(file)]) for stage in STAGES}


def declared(cls, kind) -> set[str]:
    """The fields of a section that say that they decide artifacts of a kind."""
    effects = {name: effect for name, effect in effects_of(cls).items() if effect}
    named = {name for name, effect in effects.items() if kind.name in effect.kinds}
    whole = {name for name, effect in effects.items() if not effect.kinds and kind.name not in effect.unless}
    return (named or whole) | {name for name, effect in effects.items() if kind.name in effect.also}


def with_fields(config, **fields):
    """A configuration in which other values were asked for."""
    asked = {**config.asked, **fields}
    # Training arguments are checked for this machine when they are made, and the identity does not read them.
    stage = config.stage if hasattr(config.stage, "learning_rate") else type(config.stage)(**asked)
    return dataclasses.replace(config, asked=asked, stage=stage)


@pytest.mark.parametrize("kind", MADE, ids=lambda kind: kind.name)
def test_a_stages_field_changes_the_fingerprint_if_it_says_so(configs, kind):
    config = configs[kind.stage]
    changes = set()
    for name, value in config.asked.items():
        beside = {**BESIDE, **(IN_PPO if kind.stage == "ppo" else {})}.get(name, {})
        base = with_fields(config, **({} if name == "labeler" else beside))
        value = base.asked[name]
        changed = with_fields(config, **{**beside, name: other(name, value)})
        assert changed.asked[name] != value, name
        if fingerprint(kind, base, {}) != fingerprint(kind, changed, {}):
            changes.add(name)
    assert changes == declared(type(config.stage), kind) & config.asked.keys()
    assert changes and len(changes) < len(config.asked)


@pytest.mark.parametrize("kind", MADE, ids=lambda kind: kind.name)
@pytest.mark.parametrize("section", SHARED)
def test_a_shared_field_changes_the_fingerprint_if_it_says_so(configs, kind, section):
    config = configs[kind.stage]
    changes = set()
    for field in dataclasses.fields(vars(config)[section]):
        values = vars(config)[section]
        if (section, field.name) == ("teacher", "system_prompt"):
            values = dataclasses.replace(values, chat=True)
            config = dataclasses.replace(config, teacher=values)
        value = other(field.name, vars(values)[field.name])
        changed = dataclasses.replace(config, **{section: dataclasses.replace(values, **{field.name: value})})
        if fingerprint(kind, config, {}) != fingerprint(kind, changed, {}):
            changes.add(field.name)
    assert changes == declared(SHARED[section], kind)


def test_what_the_issue_names(configs):
    """A student loaded otherwise is another model; where and how a stage runs is not."""
    decide = {
        ("student", kind): {"pad_token", "chat", "system_prompt", "prefill", "chat_template_kwargs"} | answering
        for kind, answering in (
            *((kind, set()) for kind in ("warmup", "reward")),
            *((kind, {"dtype"}) for kind in ("triples", "policy", "results")),
        )
    }
    of_the_teacher = {"model", "chat", "shots", "system_prompt", "extra_body", "accept_models"}
    decide |= {("teacher", kind): of_the_teacher for kind in ("labels", "results")}
    for (section, kind), names in decide.items():
        assert declared(SHARED[section], KINDS[kind]) == names
    without = {
        "reward": {"generation_batch_size", "chunk_questions"},
        "ppo": {"num_processes", "per_device_train_batch_size", "micro_batch_tokens", "offload_ref_model"},
        "evaluate": {"batch_size"},
    }
    for stage, names in without.items():
        assert all(effects_of(stage_class(stage))[name] is None for name in names)


def test_a_process_s_batch_decides_nothing_where_the_global_one_is_given(configs):
    for stage, kind in (("warmup", "warmup"), ("reward", "reward")):
        made = [
            fingerprint(KINDS[kind], with_fields(configs[stage], **fields), {})
            for each in (4, 8)
            for fields in (
                {"per_device_train_batch_size": each},
                {"per_device_train_batch_size": each, "global_batch_size": 16},
                {"global_batch_size": each},
            )
        ]
        assert made[1] == made[4] and len(set(made)) == 5


@pytest.mark.parametrize("name", ["word_problems", "gsm8k", "gsm_plus", "mmlu_pro"])
def test_every_option_of_a_task_counts(name):
    section = {"name": name}
    task = load_task(section)
    written = {field.name: vars(task)[field.name] for field in dataclasses.fields(task) if field.init}
    assert resolved({**section, **written}) == resolved(section)
    for option, value in written.items():
        changed = resolved({**section, option: other(option, value)})
        assert json.dumps(changed) != json.dumps(resolved(section)), option
