"""Cards as text: what stands in them, and metadata that the Hub and its lineage view read."""

import copy
from importlib.metadata import version

import jinja2
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from hfdistill.artifacts import cards, figures, metadata
from hfdistill.errors import HFDistillError
from hfdistill.kinds import BASELINE, COMPARE, KINDS, LABELS, POLICY, REWARD, TRIPLES, WARMUP, Kind


MANIFEST = {
    "format": 2,
    "stage": "ppo",
    "run": "demo",
    "fingerprint": "0123456789abcdef",
    "config": {
        "seed": 3,
        "task": {"name": "word_problems", "train": 4, "validation": 1, "test": 1},
        "stage": {"learning_rate": 1e-5, "temperatures": (0.0, 0.1)},
    },
    "teacher": {"model": "org/teacher", "license": "Llama3.1"},
    "student": {"model": "org/base", "license": "apache-2.0"},
    "parents": {
        "triples": "dataset:me/demo-triples@" + "a" * 40,
        "warmup": "model:me/demo-warmup@" + "b" * 40,
        "again": "dataset:me/demo-triples@" + "c" * 40,
    },
    "inherited": {"imitation": "labelled"},
    "versions": {"hfdistill": "0.1.0", "torch": "2.13.0"},
    "command": "accelerate launch recipes/train_ppo.py --config 'x|y.yaml'",
    "metrics": {
        "test": {"Ours": {"value": 0.725, "low": 0.7, "high": 0.75, "n": 1319, "no_answer": 0.01}},
        "validation_accuracy": 0.5,
        "validation_accuracy_before": {"value": 0.4, "low": 0.3, "high": 0.5, "n": 100},
        "train_accuracy": 0.9,
        "kl": 0.0123456,
        "steps": 12345,
        "history": list(range(100)),
        "odd|key": "a|b\nc",
        "unknown": None,
    },
    "cost": {"seconds": 3600.0, "requests": 51_000},
    "created": "2026-01-01T00:00:00+00:00",
}


def make(kind: Kind, manifest: dict = MANIFEST, plots: tuple = ()) -> tuple[dict, str]:
    card = cards.card(kind, manifest, repo_id="me/demo-x", plots=plots)
    assert card == cards.join(*cards.split(card))
    return cards.split(card)


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_every_card_says_where_it_comes_from(kind):
    data, body = make(kind, plots=("plots/curve.png",))
    assert {"hfdistill", "distillation"} <= set(data["tags"])
    assert body.startswith("\n# demo-x\n")
    assert "Distill Not Only Data but Also Rewards" in body and "https://arxiv.org/abs/2502.19557" in body
    assert "accelerate launch recipes/train_ppo.py --config 'x|y.yaml'" in body
    # Links by path alone hold wherever the Hub is.
    assert "](/datasets/me/demo-triples/tree/" + "a" * 40 in body and "](/me/demo-warmup/tree/" + "b" * 40 in body
    assert "![plots/curve.png](plots/curve.png)" in body
    assert "`org/teacher`: Llama3.1" in body and "## Limits and bias" in body
    assert "\n\n\n" not in body and "{{" not in body and "{%" not in body and "None" not in body


@pytest.mark.parametrize("kind", [kind for kind in KINDS.values() if kind is not COMPARE])
def test_numbers_config_and_cost(kind):
    _, body = make(kind)
    for line in (
        "| test: Ours | 72.5 % (95 % interval 70.0 to 75.0, n = 1,319) |",
        "| test: Ours: no answer | 0.01 |",
        "| kl | 0.01235 |",
        "| steps | 12,345 |",
        "| odd\\|key | a\\|b c |",
        "| unknown | not measured |",
        "| requests | 51,000 |",
        "  learning_rate: 1.0e-05",
        "Versions: hfdistill 0.1.0, torch 2.13.0.",
    ):
        assert f"\n{line}\n" in body
    assert "history" not in body


def test_model_metadata():
    data, _ = make(POLICY)
    assert data["library_name"] == "transformers" and data["pipeline_tag"] == "text-generation"
    assert data["base_model"] == "org/base" and data["base_model_relation"] == "finetune"
    assert data["datasets"] == ["me/demo-triples"] and data["teacher_model"] == "org/teacher"
    assert data["license"] == ["apache-2.0", "llama3.1"]
    (index,) = data["model-index"]
    found = {
        (metric["type"], metric["name"], result["dataset"].get("split")): metric["value"]
        for result in index["results"]
        for metric in result["metrics"]
    }
    assert index["name"] == "demo-x"
    # Figures of training, of before and of tests that are no field of a training are not the model's own.
    assert found == {("agreement", "agreement with the vote on validation questions", None): 0.5}
    assert make(REWARD)[0]["pipeline_tag"] == "text-classification"


def test_dataset_metadata():
    data, _ = make(LABELS)
    assert [config["config_name"] for config in data["configs"]] == ["responses", "questions", "gold"]
    assert data["configs"][0]["data_files"] == [{"split": "train", "path": "responses/*.parquet"}]
    assert data["annotations_creators"] == ["machine-generated"] and data["license"] == "llama3.1"
    assert "base_model" not in data
    data, _ = make(TRIPLES)
    assert [config["config_name"] for config in data["configs"]] == ["responses", "triples"]
    assert data["source_datasets"] == ["me/demo-triples"]


def test_the_teachers_responses_come_from_teacher_and_questions():
    manifest = copy.deepcopy(MANIFEST) | {"stage": "label", "parents": {}}
    manifest["metrics"]["served"] = {"model_id": "org/teacher", "model_sha": "e" * 40}
    _, body = make(LABELS, manifest)
    assert "| teacher model | model [org/teacher](" in body and f"| `{'e' * 12}` |" in body
    assert "| questions | task `word_problems`, options below | hfdistill 0.1.0 |" in body
    assert "org/base" not in body


def test_space_metadata():
    data, _ = make(COMPARE)
    assert data["sdk"] == "gradio" and data["sdk_version"] == version("gradio") and data["app_file"] == "app.py"
    assert data["models"] == ["me/demo-warmup"] and data["datasets"] == ["me/demo-triples"]
    assert len(data["short_description"]) <= 60


def test_the_pinned_base_wins_over_the_named_student_and_folders_are_no_base(tmp_path):
    manifest = copy.deepcopy(MANIFEST)
    manifest["parents"]["student"] = "model:org/pinned@" + "d" * 40
    assert make(WARMUP, manifest)[0]["base_model"] == "org/pinned"
    manifest["parents"] = {"student": f"model:{tmp_path}@local", "labels": "dataset:runs/x@0123456789abcdef"}
    manifest["student"]["model"] = str(tmp_path)
    data, body = make(WARMUP, manifest)
    assert "base_model" not in data and "datasets" not in data
    assert f"model in a folder, `{tmp_path}`" in body and "](" + str(tmp_path) not in body


@pytest.mark.parametrize(
    ("teacher", "student", "expected"),
    [
        (None, None, {}),
        ("MIT", "mit", {"license": "mit"}),
        ("gemma", None, {"license": "gemma"}),
        ("Qwen Research", "mit", {"license": "other", "license_name": "mit-and-qwen-research"}),
    ],
)
def test_licences_are_carried_over_as_the_hub_accepts_them(teacher, student, expected):
    manifest = copy.deepcopy(MANIFEST)
    manifest["teacher"]["license"], manifest["student"]["license"] = teacher, student
    manifest["parents"]["labels"] = "dataset:me/demo-labels@" + "d" * 40
    data, body = make(POLICY, manifest)
    assert {key: data[key] for key in ("license", "license_name") if key in data} == expected
    assert "Built with Llama" not in body and "\n\n\n" not in body
    assert data["model-index"][0]["results"][0]["dataset"]["type"] == "me/demo-labels"
    assert ("not stated" in body) is (teacher is None or student is None)


def test_llama_licences_ask_for_more():
    assert "Built with Llama" in make(POLICY)[1]


def test_a_run_without_a_named_teacher():
    manifest = copy.deepcopy(MANIFEST) | {"teacher": None}
    for kind in KINDS.values():
        data, body = make(kind, manifest)
        assert "teacher_model" not in data and "a larger model" in body


def test_templates_are_strict():
    manifest = copy.deepcopy(MANIFEST)
    del manifest["command"]
    with pytest.raises(jinja2.UndefinedError):
        make(POLICY, manifest)


def test_metadata_says_what_the_files_are(tmp_path):
    for name, count in (("questions", 5), ("responses", 1200), ("extra", 1)):
        (tmp_path / name).mkdir()
        for part in range(2):
            table = pa.Table.from_pylist([{"a": 1}] * count)
            pq.write_table(table, tmp_path / name / f"{part}.parquet")
    card = cards.card(LABELS, MANIFEST, repo_id="me/demo-x")
    data, body = cards.split(cards.fit_to_folder(card, tmp_path))
    assert [config["config_name"] for config in data["configs"]] == ["responses", "questions", "extra"]
    assert data["size_categories"] == ["1K<n<10K"]
    assert body == cards.split(card)[1]


@pytest.mark.parametrize(
    ("count", "name"), [(0, "n<1K"), (999, "n<1K"), (1000, "1K<n<10K"), (10**6, "1M<n<10M"), (10**9, "n>10M")]
)
def test_size_categories(count, name):
    assert metadata.size_category(count) == name


def test_figures():
    nested = {
        "rows": [{"name": "SFT", "accuracy": 0.5}, {"accuracy": 0.25}],
        "curve": [{"step": 0, "accuracy": 0.25}, {"step": 4, "accuracy": 0.5}],
        "difference": {"value": -0.02, "low": -0.05, "high": 0.01},
        "served": {"ok": True, "shape": [1, 2]},
        "big": 123456.7,
    }
    assert figures.rows(nested) == [
        ("rows: SFT: accuracy", "0.5"),
        ("rows: 1: accuracy", "0.25"),
        ("difference", "-2.0 % (95 % interval -5.0 to 1.0)"),
        ("served: ok", "yes"),
        ("served: shape", "1, 2"),
        ("big", "123,457"),
    ]
    assert figures.rows({}) == [] and figures.rows(None) == []


def test_figures_that_several_things_have_stand_in_one_table():
    share = {"value": 0.5, "low": 0.25, "high": 0.75, "n": 8}
    vote = {"one": 0.5, "any": share, "any_minus_one": {**share, "p": 0.125}}
    found = figures.tables(
        {
            "n": 8,
            "test": {
                "Teacher": {**share, "tokens": 3.0, "categories": {"a": 0.25, "b": 0.75}},
                "Ours": {**share, "tokens": 4, "categories": {"a": 1.0}, "votes": {"4": vote, "8": vote}},
                "Ours minus Teacher": {"difference": share},
            },
            "histogram": {"bins": 20, "counts": list(range(20))},
        }
    )
    brackets = " (95 % intervals in brackets)"
    assert [table.title for table in found] == ["", f"Test{brackets}", f"Test: Ours: votes{brackets}"]
    assert [row[0] for row in found[0].rows] == ["n", "test: Ours minus Teacher: difference"]
    assert found[1].headings == ["", "Teacher", "Ours"]  # the longer side goes down
    assert [row[0] for row in found[1].rows] == ["value", "tokens", "categories: a", "categories: b"]
    assert found[1].rows[-1] == ["categories: b", "0.75", "–"]
    assert found[2].rows[1] == ["any", *2 * ["50.0\u00a0% (25.0\u00a0to\u00a075.0)"]]


def test_a_kind_without_a_template_is_said_with_the_nearest():
    kind = Kind("polcy", "ppo", "model", "a second policy", hub_tasks=("text-generation",))
    with pytest.raises(HFDistillError, match=r"unknown card template .* 'polcy.md', did you mean 'policy.md'"):
        cards.card(kind, MANIFEST, repo_id="me/demo-polcy")


def test_a_student_of_conversations_is_asked_in_one_on_its_card():
    manifest = copy.deepcopy(MANIFEST)
    manifest["student"] |= {"system_prompt": "Be brief.", "chat_template_kwargs": {"enable_thinking": False}}
    manifest["asked"] = {"chat": True, "end_token": "<|im_end|>"}
    _, body = make(POLICY, manifest)
    assert "messages = [{'role': 'system', 'content': 'Be brief.'}, {'role': 'user'" in body
    assert "apply_chat_template(messages, add_generation_prompt=True, enable_thinking=False, return_tensors" in body
    _, body = make(REWARD, manifest)
    assert "end = tokenizer.convert_tokens_to_ids('<|im_end|>')" in body
    manifest["asked"]["chat"] = False
    assert "messages" not in make(POLICY, manifest)[1]


def test_a_reward_model_says_what_it_started_from_and_how_its_scores_are_meant():
    manifest = copy.deepcopy(MANIFEST)
    data, body = make(REWARD, manifest)
    assert "It started from the warmed-up student" in body and data["base_model"] == "org/base"
    assert "ensemble.safetensors" not in body and "calibrated" not in body
    manifest["parents"]["base"] = "model:org/teacher@" + "d" * 40
    manifest["metrics"]["validation"] = {"temperature": 1.5, "spread_of_right": 0.1}
    data, body = make(REWARD, manifest)
    assert "started from the model in the row `base` below" in body and data["base_model"] == "org/teacher"
    assert "`ensemble.safetensors`" in body and "calibrated by one temperature" in body


def test_a_policy_that_never_got_better_says_so():
    manifest = copy.deepcopy(MANIFEST)
    for best_step, said in ((0, True), (40, False)):
        manifest["metrics"]["best_step"] = best_step
        assert ("never got better on validation questions" in make(POLICY, manifest)[1]) == said


def test_a_few_shot_policy_is_asked_behind_worked_examples_on_its_card():
    manifest = copy.deepcopy(MANIFEST)
    manifest["config"]["task"]["shots"] = 2
    assert "The answer is" not in make(POLICY, manifest)[1]
    manifest["config"]["stage"]["few_shot"] = True
    _, body = make(POLICY, manifest)
    assert body.count("The answer is") == 2 and "stop_strings=['\\nQ:'], tokenizer=tokenizer" in body


def test_validation_is_called_accuracy_only_where_gold_answers_are_read():
    manifest = copy.deepcopy(MANIFEST)
    for labels, kind, words in (
        ("pseudo", "agreement", "agreement with the vote on validation questions"),
        ("gold", "accuracy", "accuracy on validation questions"),
    ):
        manifest["config"]["stage"]["validation_labels"] = labels
        manifest["metrics"]["best_step"] = 4
        for made in (POLICY, WARMUP, BASELINE):
            data, body = make(made, manifest)
            (metric,) = data["model-index"][0]["results"][0]["metrics"]
            assert (metric["type"], metric["name"]) == (kind, words)
            assert f"| {words}, before | 40.0 %" in body and f"The checkpoint was chosen by {words}" in body


def test_a_reward_model_has_pos_neg_as_its_accuracy_and_pos_pos_as_none():
    manifest = copy.deepcopy(MANIFEST)
    share = {"low": 0.4, "high": 0.7, "n": 64}
    manifest["metrics"] = {
        "validation": {"pos_neg": {"value": 0.625, **share}, "pos_pos": {"value": 0.45, **share}, "accuracy": 0.7},
        "all_answers": {"best": {"value": 0.8, **share}},
    }
    data, body = make(REWARD, manifest)
    (result,) = data["model-index"][0]["results"]
    (metric,) = result["metrics"]
    assert metric["value"] == 0.625 and metric["name"].startswith("Pos/Neg") and "split" not in result["dataset"]
    assert "| validation: Pos/Pos, the teacher's right answer above the student's right one | 45.0 %" in body


@pytest.mark.parametrize(
    ("imitation", "rewards", "said", "never"),
    [
        ("labelled", None, "the paper's row Ours.", "without any imitation"),
        ("none", None, "without any imitation before, refined by PPO", "warmed up on"),
        ("none", None, "the paper's row Ours w/o D.", "row Ours."),
        ("labelled", [{"name": "vote", "weight": 1}], "in which no reward model had a part", "the paper's row"),
        ("all", None, "right or wrong, which no vote filtered", "warmed up on"),
        (None, None, "starting from the model in the row `warmup` below", "the paper's row"),
        (
            "labelled",
            [{"name": "a.py:mine", "weight": 0.5}],
            "0.5 times a function of the user's, `a.py:mine`",
            "Eq. 7",
        ),
    ],
)
def test_a_policy_says_what_was_done_to_it(imitation, rewards, said, never):
    manifest = copy.deepcopy(MANIFEST) | {"inherited": {"imitation": imitation} if imitation else {}}
    if rewards:
        manifest["config"]["stage"]["rewards"] = rewards
    what = make(POLICY, manifest)[1].partition("It is one artifact")[0]
    assert said in what and never not in what


def test_other_variants_say_what_was_done_to_them():
    manifest = copy.deepcopy(MANIFEST) | {"inherited": {"imitation": "none"}}
    assert "Answers of the base student to" in make(TRIPLES, manifest)[1]
    assert "It started from the base student" in make(REWARD, manifest)[1]
    manifest["config"]["stage"] = {"method": "rloo", "rewards": [{"name": "distilled", "weight": 1}]}
    assert (
        "without any imitation before, and then, to compare with PPO,\nrefined by RLOO." in make(BASELINE, manifest)[1]
    )
    manifest["config"]["stage"] = {"data": "all"}
    assert "no vote filtered them (the paper's row SFT)" in make(WARMUP, manifest)[1]
    manifest["config"]["stage"]["data"] = "labelled"
    manifest["inherited"] = {"relabelled": {"noise": 0.2, "seed": 3}}
    body = " ".join(make(WARMUP, manifest)[1].split())
    assert "for a study: 20 % of the labels were made wrong on purpose (seed 3)." in body and "paper's row" not in body


def test_models_without_a_revision_are_pinned_by_what_the_lineage_knows():
    manifest = copy.deepcopy(MANIFEST)
    assert make(POLICY, manifest)[1].count("| not pinned |") == 2
    manifest["inherited"] = {"teacher_revision": "e" * 40, "student_revision": "f" * 40}
    _, body = make(POLICY, manifest)
    assert f"[org/teacher](/org/teacher/tree/{'e' * 40}) | `{'e' * 12}` |" in body and "not pinned" not in body
    assert f"[org/base](/org/base/tree/{'f' * 40}) | `{'f' * 12}` |" in body
