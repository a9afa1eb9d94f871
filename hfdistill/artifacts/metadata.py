"""The YAML at the head of a card: what the Hub's search, viewer, widgets and lineage read.

The card leaves empty keys out. The teacher stands under a key of its own: as a second `base_model` the Hub would read
it as a merge.
"""

import re
from pathlib import Path
from typing import Any

from ..kinds import Kind
from . import figures
from .references import is_commit, parse_ref


TAGS = ["hfdistill", "distillation"]
ARXIV = "2502.19557"
PUBLIC = "https://huggingface.co"

SIZES = ((10**3, "n<1K"), (10**4, "1K<n<10K"), (10**5, "10K<n<100K"), (10**6, "100K<n<1M"), (10**7, "1M<n<10M"))

# What `model-index` tells of a training, by the keys that lead to it: the type of each figure, and what it is.
OF_LANGUAGE_MODELS = {("validation_accuracy",): None}
OF_REWARD_MODELS = {
    ("validation", "pos_neg"): ("accuracy", "Pos/Neg on validation questions, right and wrong by the vote"),
    ("validation", "auc"): ("roc_auc", "area under the curve on validation questions, right and wrong by the vote"),
}

# Identifiers that the Hub accepts as `license`; anything else must be `other` with a `license_name`.
LICENSES = frozenset(
    """
    apache-2.0 mit openrail bigscience-openrail-m creativeml-openrail-m bigscience-bloom-rail-1.0 bigcode-openrail-m
    afl-3.0 artistic-2.0 bsl-1.0 bsd bsd-2-clause bsd-3-clause bsd-3-clause-clear c-uda cc cc0-1.0 cc-by-2.0 cc-by-2.5
    cc-by-3.0 cc-by-4.0 cc-by-sa-3.0 cc-by-sa-4.0 cc-by-nc-2.0 cc-by-nc-3.0 cc-by-nc-4.0 cc-by-nd-4.0 cc-by-nc-nd-3.0
    cc-by-nc-nd-4.0 cc-by-nc-sa-2.0 cc-by-nc-sa-3.0 cc-by-nc-sa-4.0 cdla-sharing-1.0 cdla-permissive-1.0
    cdla-permissive-2.0 wtfpl ecl-2.0 epl-1.0 epl-2.0 etalab-2.0 eupl-1.1 agpl-3.0 gfdl gpl gpl-2.0 gpl-3.0 lgpl
    lgpl-2.1 lgpl-3.0 isc lppl-1.3c ms-pl mpl-2.0 odc-by odbl openrail++ osl-3.0 postgresql ofl-1.1 ncsa unlicense zlib
    pddl lgpl-lr deepfloyd-if-license llama2 llama3 llama3.1 llama3.2 llama3.3 gemma unknown
    """.split()  # noqa: SIM905
)


def dataset(kind: Kind, manifest: dict[str, Any], repo_id: str) -> dict[str, Any]:
    """Metadata of a dataset's card.

    `size_categories` and the configs that really have files are settled by
    [`~hfdistill.artifacts.cards.fit_to_folder`], which sees them.
    """
    return {
        "pretty_name": repo_id.rpartition("/")[2],
        **licence(manifest, "teacher"),
        "annotations_creators": ["machine-generated"],
        "language_creators": ["machine-generated"],
        "task_categories": list(kind.hub_tasks),
        "source_datasets": hub_parents(manifest, "dataset"),
        "teacher_model": stated(manifest, "teacher", "model"),
        "tags": [*TAGS, _task(manifest)],
        "configs": [dataset_config(name, kind.split) for name in kind.configs],
    }


def model(kind: Kind, manifest: dict[str, Any], repo_id: str) -> dict[str, Any]:
    """Metadata of a model's card, with what validation says of it as `model-index`; an evaluation adds to it, see
    [`~hfdistill.evaluation.telling.tell_models`].
    """
    base = base_model(manifest)
    return {
        "library_name": "transformers",
        "pipeline_tag": kind.hub_tasks[0],
        **licence(manifest, "student", "teacher"),
        "base_model": base,
        "base_model_relation": "finetune" if base else None,
        "datasets": hub_parents(manifest, "dataset"),
        "teacher_model": stated(manifest, "teacher", "model"),
        "tags": [*TAGS, _task(manifest)],
        "model-index": _model_index(kind.hub_tasks[0], manifest, repo_id),
    }


def space(kind: Kind, manifest: dict[str, Any], repo_id: str) -> dict[str, Any]:
    """Metadata of the comparison Space; Gradio's version is pinned to the one installed."""
    from importlib.metadata import version

    return {
        "title": f"{manifest['run']}: teacher and students side by side"[:60],
        "emoji": "⚗️",
        "colorFrom": "indigo",
        "colorTo": "green",
        "sdk": "gradio",
        "sdk_version": version("gradio"),
        "python_version": "3.11",
        "app_file": "app.py",
        "short_description": "Teacher and distilled students, one question",
        "license": "apache-2.0",
        "suggested_hardware": manifest.get("suggested_hardware"),
        "preload_from_hub": manifest.get("preload_from_hub"),
        "models": hub_parents(manifest, "model"),
        "datasets": hub_parents(manifest, "dataset"),
        "tags": list(TAGS),
    }


def base_model(manifest: dict[str, Any]) -> str | None:
    """The model before any training, if it is on the Hub: the student, or what a reward model started from instead."""
    started = manifest["parents"].get("base", manifest["parents"].get("student", ""))
    repo_type, repo_id, revision = parse_ref(started)
    if repo_type == "model" and is_commit(revision):
        return repo_id
    if "base" in manifest["parents"]:
        return None
    name = stated(manifest, "student", "model")
    return name if name and is_repo_id(name) else None


def teacher_revision(manifest: dict[str, Any]) -> str:
    """Commit of the teacher's weights where its endpoint told it, then or to a parent, else empty."""
    served = manifest["metrics"].get("served")
    own = served.get("model_sha") if isinstance(served, dict) else None
    return own or manifest.get("inherited", {}).get("teacher_revision", "")


def student_revision(manifest: dict[str, Any]) -> str:
    """Commit of the base student where one was named or a parent pins it, else empty."""
    return manifest.get("inherited", {}).get("student_revision") or stated(manifest, "student", "revision") or ""


def hub_parents(manifest: dict[str, Any], repo_type: str) -> list[str]:
    """Repositories of one type among the parents, each once; folders of this machine are left out."""
    found = [parse_ref(ref) for ref in manifest["parents"].values()]
    return list(dict.fromkeys(repo for kind, repo, revision in found if kind == repo_type and is_commit(revision)))


def is_repo_id(name: str) -> bool:
    """Whether a model's name can be a repository: `name` or `namespace/name`, and no folder of this machine."""
    return re.fullmatch(r"[\w.-]+(/[\w.-]+)?", name) is not None and not Path(name).exists()


def stated(manifest: dict[str, Any], who: str, key: str) -> str | None:
    """What the configuration says of the teacher or the student, if it says anything."""
    return (manifest.get(who) or {}).get(key)


def licence(manifest: dict[str, Any], *whose: str) -> dict[str, Any]:
    """The `license` keys for the licences that apply together, as the Hub accepts them."""
    given = [(stated(manifest, who, "license") or "").strip().lower() for who in whose]
    names = list(dict.fromkeys(filter(None, given)))
    if not names:
        return {}
    if all(name in LICENSES for name in names):
        return {"license": names[0] if len(names) == 1 else names}
    keys = {"license": "other", "license_name": re.sub(r"[^a-z0-9.]+", "-", " and ".join(names)).strip("-")}
    teacher = stated(manifest, "teacher", "model")
    if teacher and is_repo_id(teacher):
        from huggingface_hub import constants

        if constants.ENDPOINT == PUBLIC:  # no card tells where a Hub of one's own stands
            keys["license_link"] = f"{PUBLIC}/{teacher}"
    return keys


def size_category(row_count: int) -> str:
    """The Hub's `size_categories` value for a number of rows."""
    return next((name for limit, name in SIZES if row_count < limit), "n>10M")


def dataset_config(name: str, split: str) -> dict[str, Any]:
    """One entry of `configs`: every Parquet file of the folder, as one split."""
    return {"config_name": name, "data_files": [{"split": split, "path": f"{name}/*.parquet"}]}


def _task(manifest: dict[str, Any]) -> str:
    return manifest["config"]["task"]["name"]


def _model_index(pipeline_tag: str, manifest: dict[str, Any], repo_id: str) -> list[dict[str, Any]] | None:
    from huggingface_hub import EvalResult, ModelCardData

    repo_type, source, revision = parse_ref(manifest["parents"].get("labels", ""))
    on_hub = repo_type == "dataset" and is_commit(revision)
    told = OF_REWARD_MODELS if pipeline_tag == "text-classification" else OF_LANGUAGE_MODELS
    results = []
    for path, value in figures.leaves(manifest["metrics"]):
        if path not in told:
            continue
        words = figures.validation(manifest["config"].get("stage", {}))
        # The labels have no split of this name: which questions validate is said by a column.
        kind, name = told[path] or ("accuracy" if words == figures.BY_GOLD else "agreement", words)
        results.append(
            EvalResult(
                task_type=pipeline_tag,
                dataset_type=source if on_hub else _task(manifest),
                dataset_name=_task(manifest),
                metric_type=kind,
                metric_name=name,
                metric_value=round(value["value"] if figures.is_interval(value) else value, 6),
            )
        )
    card = ModelCardData(model_name=repo_id.rpartition("/")[2], eval_results=results)
    return card.to_dict()["model-index"] if results else None
