"""What the fields say of themselves is true: runs of the recipes on a tiny model, compared byte by byte."""

import dataclasses
import json

import pytest
import torch
import yaml
from accelerate.state import AcceleratorState
from safetensors.torch import load

from hfdistill.fields import effects_of
from hfdistill.flags import stage_class

from ..reward.test_recipes import make_run, recipe


RECIPES = {"warmup": "warm_up", "reward": "train_reward", "ppo": "train_ppo"}
MAKES = {"warmup": ["warmup"], "reward": ["triples", "reward"], "ppo": ["policy"]}

# The last checkpoint is published, so that no setting hides behind a best one that came before it told.
LAST = {"eval_strategy": "no", "save_strategy": "no", "bf16": False, "use_cpu": True}
SETTINGS = {
    "warmup": {**LAST, "num_train_epochs": 5, "learning_rate": 1e-2},
    "reward": {**LAST, "num_train_epochs": 1, "learning_rate": 1e-3, "samples": 30, "per_device_train_batch_size": 4},
    "ppo": {
        **LAST,
        "eval_strategy": "steps",
        "load_best_model_at_end": False,
        "eval_steps": 4,
        "early_stopping_patience": None,
        "total_episodes": 32,
        "rollout_batch_size": 16,
        "num_ppo_epochs": 1,
        "num_mini_batches": 2,
        "per_device_train_batch_size": 8,
        "learning_rate": 1e-3,
    },
}

# Another value of every inherited field that is said to have no effect …
ELSEWHERE = {
    "dataloader_num_workers": 1,
    "dataloader_multiprocessing_context": "fork",
    "dataloader_persistent_workers": True,
    "dataloader_pin_memory": False,
    "dataloader_prefetch_factor": 3,
    "ddp_broadcast_buffers": False,
    "ddp_bucket_cap_mb": 7,
    "ddp_find_unused_parameters": True,
    "ddp_static_graph": False,
    "ddp_timeout": 60,
    "disable_tqdm": True,
    "do_eval": True,
    "do_predict": True,
    "do_train": True,
    "enable_jit_checkpoint": True,
    "eval_accumulation_steps": 2,
    "eval_use_gather_object": True,
    "hub_always_push": True,
    "hub_model_id": "x/y",
    "hub_private_repo": True,
    "hub_revision": "other",
    "hub_strategy": "end",
    "include_num_input_tokens_seen": True,
    "log_level": "error",
    "log_level_replica": "error",
    "log_on_each_node": False,
    "logging_first_step": True,
    "logging_nan_inf_filter": False,
    "logging_steps": 3,
    "logging_strategy": "epoch",
    "per_device_eval_batch_size": 5,
    "project": "other",
    "restore_callback_states_from_checkpoint": True,
    "run_name": "other",
    "save_on_each_node": True,
    "save_only_model": True,
    "save_total_limit": 1,
    "skip_memory_metrics": False,
    "torch_empty_cache_steps": 2,
}
# … and of every field of ours; a parent's name is that of the default, written out.
OWN = {
    "warmup": {"labels": "run-labels", "activation_offloading": False, "dataset_num_proc": 2},
    "reward": {
        "labels": "run-labels",
        "warmup": "run-warmup",
        "base": "run-warmup",
        "generation_batch_size": 7,
        "chunk_questions": 9,
        "share_prefix": False,
    },
    "ppo": {
        "labels": "run-labels",
        "warmup": "run-warmup",
        "triples": "run-triples",
        "reward": "run-reward",
        "generation_batch_size": 5,
        "micro_batch_tokens": 4096,
        "per_device_train_batch_size": 16,
        "offload_ref_model": True,
        "num_processes": 1,
        "vllm_mode": "server",
        "vllm_server_base_url": "http://127.0.0.1:9",
        "vllm_server_timeout": 1.0,
        "vllm_group_port": 1234,
        "vllm_gpu_memory_utilization": 0.1,
        "vllm_max_model_length": 99,
        "vllm_tensor_parallel_size": 2,
        "vllm_enable_sleep_mode": True,
        "log_completions": True,
        "num_completions_to_print": 1,
    },
}
# The same sums in another order: it takes other passes than those written out for Llamas on a CPU.
ROUNDED = {"activation_checkpointing": True, "activation_checkpointing_kwargs": {"use_reentrant": False}}
# What needs another machine, several processes, a service or an earlier run to be something else.
NOT_HERE = {
    *("use_cpu", "deepspeed", "fsdp", "fsdp_config", "parallelism_config", "local_rank", "ddp_backend"),
    *("push_to_hub", "hub_token", "report_to", "trackio_bucket_id", "trackio_space_id", "trackio_static_space_id"),
    *("resume_from_checkpoint", "debug", "output_dir", "remove_unused_columns"),
    # Their new names are changed.
    *("gradient_checkpointing", "gradient_checkpointing_kwargs"),
}

# Fields that decide: another value of each, alone.
DECIDING = {
    "warmup": {"learning_rate": 2e-2, "max_per_question": 1, "seed": 5},
    "reward": {"max_triples": 1, "classification_weight": 0.1},
    "ppo": {"gamma": 0.5, "temperature": 0.9},
}
MORE_DECIDING = {
    "warmup": {
        "data": "all",
        "deduplicate": False,
        "max_length": 50,
        "num_train_epochs": 6,
        "per_device_train_batch_size": 4,
        "gradient_accumulation_steps": 2,
        "global_batch_size": 4,
        "weight_decay": 0.1,
        "lr_scheduler_type": "constant",
        "max_grad_norm": 0.1,
        "adam_beta1": 0.8,
        "warmup_steps": 3,
    },
    "reward": {
        "samples": 10,
        "temperature": 0.9,
        "source": "student",
        "every_token": 0.5,
        "ensemble": 2,
        "pairs": "near",
        "balance": True,
        "max_new_tokens": 30,
        "learning_rate": 2e-3,
        "seed": 7,
        "per_device_train_batch_size": 2,
        "global_batch_size": 2,
    },
    "ppo": {
        "kl_coef": 0.5,
        "kl_in": "loss",
        "lam": 0.5,
        "cliprange": 0.001,
        "vf_coef": 1.0,
        "whiten_rewards": True,
        "missing_eos_penalty": 1.0,
        "max_completion_length": 30,
        "rollout_batch_size": 32,
        "num_mini_batches": 1,
        "value_learning_rate": 1e-2,
        "value_head_init": "zero",
        "learning_rate": 2e-3,
        "rewards": "{name: distilled, variant: minus}",
        "seed": 7,
    },
}


def flags(settings: dict, folder) -> list[str]:
    """Settings as flags; the name of an artifact as its place."""
    words = []
    for name, value in settings.items():
        if name in ("labels", "warmup", "base", "triples", "reward"):
            value = folder / "artifacts" / value
        words += [f"--{name}", json.dumps(value) if isinstance(value, bool | dict) else str(value)]
    return words


class Runs:
    """A run of the three training stages, and further runs of a stage on its artifacts."""

    def __init__(self, folder):
        self.folder = folder
        self.config = make_run(folder)
        content = yaml.safe_load(self.config.read_text())
        self.config.write_text(yaml.safe_dump({**content, **SETTINGS}))
        for stage in RECIPES:
            self.run(stage)

    def run(self, stage: str, settings: dict | None = None, suffix: str = "") -> dict[str, bytes]:
        """Data files of what the stage made."""
        AcceleratorState._reset_state(reset_partial_state=True)
        words = [*flags(settings or {}, self.folder), *([f"--run.suffix={suffix}"] if suffix else [])]
        with pytest.MonkeyPatch.context() as monkeypatch:
            assert recipe(RECIPES[stage], self.config, monkeypatch, *words) == 0
        return self.files(stage, suffix)

    def files(self, stage: str, suffix: str = "") -> dict[str, bytes]:
        """Data files of what the stage made, by path."""
        return {
            f"{kind}/{path.relative_to(place)}": path.read_bytes()
            for kind in MAKES[stage]
            for place in [self.folder / "artifacts" / f"run-{kind}{suffix}"]
            for path in sorted(place.rglob("*"))
            if path.suffix in (".safetensors", ".parquet", ".json") and path.name != "hfdistill.json"
        }

    def fingerprints(self, stage: str, suffix: str = "") -> list[str]:
        """Of what the stage made."""
        places = [self.folder / "artifacts" / f"run-{kind}{suffix}" for kind in MAKES[stage]]
        return [json.loads((place / "hfdistill.json").read_text())["fingerprint"] for place in places]


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> Runs:
    return Runs(tmp_path_factory.mktemp("runs"))


def no_effect(stage: str) -> dict:
    """Another value of every field of the stage that is said to have no effect."""
    names = {field.name for field in dataclasses.fields(stage_class(stage)) if field.init}
    return {**{name: value for name, value in ELSEWHERE.items() if name in names}, **OWN[stage]}


@pytest.mark.parametrize("stage", RECIPES)
def test_what_is_said_to_have_no_effect_is_all_tried(stage):
    asked = {field.name for field in dataclasses.fields(stage_class(stage)) if field.init}
    said = {name for name, effect in effects_of(stage_class(stage)).items() if effect is None} & asked
    tried = no_effect(stage).keys() | ROUNDED.keys()
    assert tried <= said and said - tried <= NOT_HERE


@pytest.mark.parametrize("stage", RECIPES)
def test_fields_without_effect_leave_every_byte(runs, stage):
    made = runs.run(stage, {**no_effect(stage), "output_dir": str(runs.folder / "elsewhere")}, "-elsewhere")
    assert runs.fingerprints(stage, "-elsewhere") == runs.fingerprints(stage)
    before = runs.files(stage)
    assert made.keys() == before.keys() and any(name.endswith((".safetensors", ".parquet")) for name in made)
    assert [name for name in made if made[name] != before[name]] == []


@pytest.mark.parametrize("stage", RECIPES)
def test_activation_checkpointing_changes_no_more_than_the_rounding(runs, stage):
    made, before = runs.run(stage, ROUNDED, "-rounded"), runs.files(stage)
    assert runs.fingerprints(stage, "-rounded") == runs.fingerprints(stage)
    weights = f"{MAKES[stage][-1]}/model.safetensors"
    assert {name for name in made if made[name] != before[name]} <= {weights}
    ours, theirs = load(made[weights]), load(before[weights])
    assert all(torch.allclose(ours[name], theirs[name], rtol=0, atol=1e-5) for name in theirs)


def test_without_golds_the_policy_is_the_same(runs):
    golds = runs.folder / "artifacts" / "run-labels" / "gold"
    aside = golds.rename(runs.folder / "gold")
    try:
        made = runs.run("ppo", suffix="-without-golds")
    finally:
        aside.rename(golds)
    assert made == runs.files("ppo")


def test_without_validation_the_last_model_is_published_and_said_to_be(runs):
    blind = {"eval_strategy": "no", "load_best_model_at_end": True, "early_stopping_patience": 5}
    made = runs.run("ppo", blind, "-blind")
    assert made["policy/model.safetensors"] == runs.files("ppo")["policy/model.safetensors"]
    for suffix, validated in (("-blind", False), ("", True)):
        place = runs.folder / "artifacts" / f"run-policy{suffix}"
        metrics = json.loads((place / "hfdistill.json").read_text())["metrics"]
        assert ("validation_accuracy" in metrics) == validated and "best_step" not in metrics
        assert "no validation chose the checkpoint" in (place / "README.md").read_text()
    for kind in ("warmup", "reward"):
        place = runs.folder / "artifacts" / f"run-{kind}"
        assert "no validation chose the checkpoint" in (place / "README.md").read_text()
        assert "best_step" not in json.loads((place / "hfdistill.json").read_text())["metrics"]


def test_a_yardstick_without_labels_chooses_and_says_so(runs):
    asked = {"yardstick": "agreement", "all_yardsticks": True, "yardstick_samples": 4, "validation_gold": 1}
    runs.run("ppo", {**asked, "load_best_model_at_end": True, "save_strategy": "steps", "save_steps": 4}, "-yardstick")
    assert runs.fingerprints("ppo", "-yardstick") != runs.fingerprints("ppo")
    place = runs.folder / "artifacts" / "run-policy-yardstick"
    metrics = json.loads((place / "hfdistill.json").read_text())["metrics"]
    # The vote left no validation question without a label.
    assert metrics["validation_golds_bought"] == 0
    assert all({"accuracy", "reward_score", "agreement"} <= point.keys() for point in metrics["curve"])
    best = max(metrics["curve"], key=lambda point: (point["agreement"], -point["step"]))
    assert metrics["best_step"] == best["step"] and metrics["validation_agreement"] == best["agreement"]
    card = (place / "README.md").read_text()
    assert "how far its sampled answers to validation questions agree" in card


def test_labels_move_and_golds_are_bought_and_it_is_said(runs):
    asked = {"moving_labels": "fail", "label_every": 1, "label_samples": 2, "label_threshold": 0.1, "gold_budget": 2}
    made = runs.run("ppo", asked, "-moving")
    assert "policy/moved_labels.parquet" in made
    place = runs.folder / "artifacts" / "run-policy-moving"
    moving = json.loads((place / "hfdistill.json").read_text())["metrics"]["moving_labels"]
    assert moving["golds_bought"] == 2 and moving["moved"] >= 2 and moving["votes"] == 1
    assert "2 of these labels are gold answers" in (place / "README.md").read_text()


@pytest.mark.slow
def test_moving_labels_and_yardsticks_need_no_golds(runs, capsys):
    asked = {"moving_labels": "all", "label_every": 1, "label_samples": 2, "label_threshold": 0.1}
    asked |= {"all_yardsticks": True, "yardstick_samples": 2}
    with_golds = runs.run("ppo", asked, "-with-golds")
    golds = runs.folder / "artifacts" / "run-labels" / "gold"
    aside = golds.rename(runs.folder / "gold")
    try:
        assert runs.run("ppo", asked, "-without-golds") == with_golds
        with pytest.raises(AssertionError):
            runs.run("ppo", {**asked, "gold_budget": 1}, "-none-to-buy")
        assert "ppo.gold_budget asks for gold answers" in capsys.readouterr().err
    finally:
        aside.rename(golds)


def check_decides(runs: Runs, stage: str, name: str, value) -> None:
    suffix = f"-{name.replace('_', '-')}"
    made, before = runs.run(stage, {name: value}, suffix), runs.files(stage)
    changed = [old != new for old, new in zip(runs.fingerprints(stage), runs.fingerprints(stage, suffix), strict=True)]
    assert any(changed)
    for kind, other in zip(MAKES[stage], changed, strict=True):
        data = [path for path in before if path.startswith(f"{kind}/")]
        assert (any(made.get(path) != before[path] for path in data)) == other, kind


@pytest.mark.parametrize(
    ("stage", "name", "value"), [(s, name, value) for s, fields in DECIDING.items() for name, value in fields.items()]
)
def test_a_field_that_decides_changes_the_data(runs, stage, name, value):
    check_decides(runs, stage, name, value)


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize(
    ("stage", "name", "value"),
    [(stage, name, value) for stage, fields in MORE_DECIDING.items() for name, value in fields.items()],
)
def test_another_field_that_decides_changes_the_data(runs, stage, name, value):
    check_decides(runs, stage, name, value)
