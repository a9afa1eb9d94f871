"""Cards: the README.md of every artifact, made from its manifest by a strict template a kind."""

import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import jinja2
import yaml

from ..errors import unknown
from ..kinds import POLICY, RESULTS, Kind
from ..sections import StudentConfig
from ..student import conversation
from . import figures, metadata, variants
from .references import is_commit, parse_ref


EXAMPLE_QUESTION = "Tom has 7 pens. Buys 5. Loses 3. Finds 6. How many pens are there now?"
EXAMPLE_OPTIONS = ("12", "15", "18", "21")
EXAMPLE_RESPONSE = "\nStep 1: 7 + 5 = 12.\nStep 2: 12 - 3 = 9.\nStep 3: 9 + 6 = 15.\nThe answer is 15."

TEACHER_ROW = "Teacher"  # of a table of accuracies; the other rows are named after the roles of their models
TEMPLATES = Path(__file__).parent / "templates"
METADATA = {"dataset": metadata.dataset, "model": metadata.model, "space": metadata.space}


def card(kind: Kind, manifest: dict[str, Any], *, repo_id: str, plots: Sequence[str] = ()) -> str:
    """Card of an artifact.

    Args:
        kind ([`~hfdistill.kinds.Kind`]): of the artifact.
        manifest (`dict`): from [`~hfdistill.artifacts.manifest.manifest`].
        repo_id (`str`): where it will be published.
        plots (`Sequence[str]`, *optional*): paths of PNG files within the repository.

    Returns:
        `str`: text of README.md, metadata included.
    """
    from ..tasks import load_task

    open_ended = load_task(manifest["config"]["task"]).open_ended
    text = _template(f"{kind.name}.md").render(
        repo_id=repo_id,
        name=repo_id.rstrip("/").rpartition("/")[2],
        manifest=manifest,
        task=manifest["config"]["task"]["name"],
        open_ended=open_ended,
        teacher=_named(manifest, "teacher", "a larger model"),
        student=_named(manifest, "student", "a small model"),
        licences=list(_licences(manifest)),
        parents=list(_parents(manifest)),
        config=_yaml(manifest["config"]).rstrip(),
        numbers=figures.tables(manifest["metrics"], manifest["config"].get("stage")),
        variant=variants.Variant(manifest, open_ended),
        validated=figures.validation(manifest["config"].get("stage", {})),
        **(_evaluated(manifest) if kind is RESULTS else {}),
        cost=figures.rows(manifest["cost"]),
        versions=", ".join(f"{package} {version}" for package, version in manifest["versions"].items()),
        plots=list(plots),
        arxiv=metadata.ARXIV,
        **(_example(manifest) if kind.repo_type == "model" else {}),
    )
    data = METADATA[kind.repo_type](kind, manifest, repo_id)
    return join({key: value for key, value in data.items() if value}, "\n" + text.strip() + "\n")


def split(card: str) -> tuple[dict[str, Any], str]:
    """Take a card apart into its metadata (`{}` if it has none) and its body."""
    match = re.match(r"\A---\r?\n(.*?)\r?\n---\r?\n", card, re.DOTALL)
    if not match:
        return {}, card
    return yaml.safe_load(match.group(1)) or {}, card[match.end() :]


def join(data: dict[str, Any], body: str) -> str:
    """Put metadata and body together again."""
    return f"---\n{_yaml(data)}---\n{body}"


def fit_to_folder(card: str, folder: Path) -> str:
    """Make a dataset card's metadata say what the files are: one config a folder of Parquet files, and how many rows.

    The manifest cannot know either, and a config without files breaks the Hub's viewer.
    """
    import pyarrow.parquet

    data, body = split(card)
    counts: Counter[str] = Counter()
    for path in sorted(folder.glob("*/*.parquet")):
        counts[path.parent.name] += pyarrow.parquet.read_metadata(path).num_rows
    if not data or not counts:
        return card
    declared = {config["config_name"]: config for config in data.get("configs", [])}
    splits = [config["data_files"][0]["split"] for config in declared.values()]
    found = {name: metadata.dataset_config(name, splits[0] if splits else "train") for name in counts}
    data["configs"] = [found[name] for name in dict.fromkeys([*declared, *counts]) if name in found]
    data["size_categories"] = [metadata.size_category(max(counts.values()))]
    return join(data, body)


def page(repo_type: str, repo_id: str, revision: str | None = None) -> str:
    """Path of a repository's page, at a revision if one is given.

    Cards link by it alone, so that their links hold wherever the Hub that shows them is, or moves to.
    """
    prefix = "" if repo_type == "model" else f"{repo_type}s/"
    return f"/{prefix}{repo_id}" + (f"/tree/{revision}" if revision else "")


def url(repo_type: str, repo_id: str, revision: str | None = None, endpoint: str | None = None) -> str:
    """Address of a repository's page on the Hub in use if no other is given."""
    from huggingface_hub import constants

    return (endpoint or constants.ENDPOINT) + page(repo_type, repo_id, revision)


def _template(name: str) -> jinja2.Template:
    try:
        return _environment().get_template(name)
    except jinja2.TemplateNotFound as error:
        known = sorted(path.name for path in TEMPLATES.glob("*.md"))
        raise unknown("card template in artifacts/templates:", name, known) from error


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"cell": cell, "python": repr}
    return environment


def cell(value: Any) -> str:
    """Text for a cell of a Markdown table: it may neither end the cell nor the line."""
    return str(value).replace("|", "\\|").replace("\n", " ")


def _named(manifest: dict[str, Any], who: str, otherwise: str) -> str:
    name = metadata.stated(manifest, who, "model")
    return f"`{name}`" if name else otherwise


def _parents(manifest: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    """What the artifact was made from, pinned ones first: role, what and revision, a row of the card's table."""
    pinned = set()
    for role, ref in manifest["parents"].items():
        repo_type, repo_id, revision = parse_ref(ref)
        pinned.add(repo_id)
        if is_commit(revision):
            yield role, f"{repo_type} [{repo_id}]({page(repo_type, repo_id, revision)})", f"`{revision[:12]}`"
        else:
            yield role, f"{repo_type} in a folder, `{repo_id}`", f"`{revision}`"
    for who, role in (("teacher", "teacher model"), ("student", "base student")):
        section = _involved(manifest, who)
        if section and section["model"] not in pinned:
            name = section["model"]
            pinned_by = metadata.teacher_revision if who == "teacher" else metadata.student_revision
            revision = pinned_by(manifest)
            link = page("model", name, revision if is_commit(revision) else None)
            what = f"model [{name}]({link})" if metadata.is_repo_id(name) else f"model `{name}`"
            yield role, what, f"`{revision[:12]}`" if revision else "not pinned"
    if manifest["stage"] == "label":
        task = f"task `{manifest['config']['task']['name']}`, options below"
        yield "questions", task, f"hfdistill {manifest['versions']['hfdistill']}"


def _evaluated(manifest: dict[str, Any]) -> dict[str, Any]:
    """Which tasks were evaluated, and whether the teacher answered them, too."""
    tables = {task: rows for task, rows in manifest["metrics"].items() if isinstance(rows, dict)}
    tasks = ", ".join(f"`{task}`" for task in tables or [manifest["config"]["task"]["name"]])
    return {"tasks": tasks, "with_teacher": any(TEACHER_ROW in rows for rows in tables.values())}


def _involved(manifest: dict[str, Any], who: str) -> dict[str, Any] | None:
    """The section of a model that had a part in the artifact: the student has none in the teacher's responses."""
    return None if who == "student" and manifest["stage"] == "label" else manifest.get(who)


def _licences(manifest: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for who in ("teacher", "student"):
        if section := _involved(manifest, who):
            name = section.get("license") or ""
            llama = name.lower().startswith("llama")
            yield {"who": who, "model": section["model"], "licence": name, "llama": llama}


def _example(manifest: dict[str, Any]) -> dict[str, Any]:
    """A prompt in the task's own form, a response to it and the longest response, for the code that loads a model."""
    from ..tasks import Question, load_task

    task = load_task(manifest["config"]["task"])
    question = Question("example", EXAMPLE_QUESTION, "test", options=EXAMPLE_OPTIONS)
    asked, chat = manifest.get("asked", {}), conversation(StudentConfig(**manifest["student"]))
    few_shot = manifest["stage"] == POLICY.stage and manifest["config"].get("stage", {}).get("few_shot")
    shots = task.shots if few_shot else 0
    goes_on = "add_generation_prompt" if chat.prefill is None else "continue_final_message"
    options = {goes_on: True, **chat.template_kwargs}
    return {
        "messages": chat.messages(task, question, shots) if asked.get("chat") else None,
        "stop": list(task.stop) if shots and not asked.get("chat") else [],
        "template_options": ", ".join(f"{name}={value!r}" for name, value in options.items()),
        "end_token": asked.get("end_token"),
        "prompt": task.prompt(question, shots=shots),
        "response": EXAMPLE_RESPONSE,
        "max_new_tokens": task.max_new_tokens,
    }


def _yaml(data: dict[str, Any]) -> str:
    plain = json.loads(json.dumps(data, default=str))  # YAML has no form for tuples and the like
    return yaml.safe_dump(plain, sort_keys=False, allow_unicode=True, width=10_000)
