"""Test figures on the cards of the models that an evaluation measured: cards change, and nothing is made anew."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..artifacts import cards, figures
from ..artifacts.digests import CARD
from ..artifacts.errors import hub_errors
from ..artifacts.push import tag_of
from ..artifacts.references import Artifact, is_commit, open_artifact, parse_ref
from ..errors import HFDistillError
from ..kinds import KINDS
from .paper_rows import PAPER_ROWS, TEACHER, in_order


# What stands between them is written by evaluations; the rest of a card is its author's.
BEGIN, END = "<!-- Test figures of hfdistill: written anew by each evaluation -->", "<!-- End of the test figures -->"
SECTION = re.compile(rf"{re.escape(BEGIN)}.*?{re.escape(END)}\n+", re.DOTALL)
ACCURACY, JUDGED = "accuracy on test questions", "share that a judge calls good on test questions"


def tell_models(results: Artifact, anew: bool = True) -> list[str]:
    """Put what an evaluation measured on the card and into the `model-index` of each model that it asked.

    Told are models of the results' own run whose newest version has the data that were evaluated. Their identity is
    made of data, so that nothing is made anew; the card points to the results by the tag of their fingerprint, which
    is the same on every Hub, and the results pin each model by its commit. What cannot be written is said and left.

    Args:
        results ([`~hfdistill.artifacts.references.Artifact`]): of the evaluation, as published.
        anew (`bool`, *optional*, defaults to `True`): replace figures of an earlier evaluation, too.

    Returns:
        `list[str]`: the models whose cards were changed.
    """
    told = []
    for role, ref in results.manifest["parents"].items():
        repo_type, repo_id, revision = parse_ref(ref)
        tables = {task: table for task, table in results.manifest["metrics"].items() if "value" in table.get(role, {})}
        if not tables or repo_type != "model" or is_commit(revision) != is_commit(results.revision):
            continue
        try:
            model = open_artifact(repo_id, repo_type, [CARD])
            own = model.manifest.get("run") == results.manifest["run"] and model.manifest.get("kind") in KINDS
            if (
                own
                and model.digest == results.manifest["digests"][role]
                and _write(model, results, role, tables, anew)
            ):
                told.append(repo_id)
        except HFDistillError as error:
            print(f"the card of {repo_id} is left without its test figures: {error}")
    return told


def _write(model: Artifact, results: Artifact, role: str, tables: dict[str, Any], anew: bool) -> bool:
    """Whether the card was changed."""
    path = model.path / CARD
    before = path.read_text(encoding="utf-8") if path.is_file() else ""
    if not before or (not anew and BEGIN in before):
        return False
    card = told(before, model.repo_id, results, role, tables)
    if card == before:
        return False
    if not is_commit(model.revision):
        incoming = path.with_name(f"{CARD}.incoming")
        incoming.write_text(card, encoding="utf-8")
        incoming.replace(path)
        return True
    from huggingface_hub import CommitOperationAdd, HfApi

    with hub_errors("model", model.repo_id):
        HfApi().create_commit(
            model.repo_id,
            [CommitOperationAdd(CARD, card.encode())],
            commit_message="test figures",
            commit_description=f"measured by {results.ref} on {results.manifest['parents'][role]}",
            parent_commit=model.revision,
        )
    return True


def told(card: str, repo_id: str, results: Artifact, role: str, tables: dict[str, Any]) -> str:
    """A model's card with the figures of the row `role` of these tables, by task, in place of those that it has."""
    data, body = cards.split(card)
    before = [each for index in data.get("model-index") or [] for each in index["results"] if not _is_test(each)]
    entries = [*before, *_entries(data.get("pipeline_tag", "text-generation"), results, role, tables)]
    data["model-index"] = [{"name": repo_id.rpartition("/")[2], "results": entries}]
    body = SECTION.sub("", body)
    section = f"{BEGIN}\n{_section(results, role, tables)}\n{END}\n\n"
    place = re.search(r"^## ", body, re.MULTILINE)
    at = place.start() if place else len(body)
    return cards.join(data, body[:at] + section + body[at:])


def _is_test(entry: dict[str, Any]) -> bool:
    return all(metric.get("name") in (ACCURACY, JUDGED) for metric in entry["metrics"])


def _entries(task_type: str, results: Artifact, role: str, tables: dict[str, Any]) -> Iterator[dict[str, Any]]:
    pinned = {"revision": tag_of(results.manifest["fingerprint"])} if is_commit(results.revision) else {}
    for task, table in tables.items():
        kind, name = ("share", JUDGED) if "undecided" in table[role] else ("accuracy", ACCURACY)
        yield {
            "task": {"type": task_type},
            "dataset": {"name": task, "type": _name(results), "config": "responses", "split": "test", **pinned},
            "metrics": [{"type": kind, "value": round(table[role]["value"], 6), "name": name}],
        }


def _section(results: Artifact, role: str, tables: dict[str, Any]) -> str:
    rows = []
    for task, table in tables.items():
        asked = (TEACHER.name, *results.manifest["parents"])
        for name in in_order([name for name in table if name in asked and "value" in table[name]]):
            accuracy = figures.text({key: table[name][key] for key in figures.INTERVAL})
            words = f": {PAPER_ROWS[name].words}" if name in PAPER_ROWS else ""
            named = cards.cell(name) + (", this model" if name == role else "") + words
            cells = [f"`{task}`", named, accuracy]
            rows.append("| " + " | ".join(f"**{cell}**" if name == role else cell for cell in cells) + " |")
    if is_commit(results.revision):
        link = cards.page("dataset", results.repo_id, tag_of(results.manifest["fingerprint"]))
        where = f"[{results.repo_id}]({link})"
    else:
        where = f"the folder `{_name(results)}`"
    judged = "a judge calls good" if "undecided" in next(iter(tables.values()))[role] else "is right by gold answers"
    return (
        "## Test figures\n\n| Task | Row | Value |\n|---|---|---|\n" + "\n".join(rows) + "\n\n"
        f"Greedy answers to test questions: the share that {judged}. Every answer is in {where},\n"
        "which pins by its commit the version of this model that gave them.\n"
    )


def _name(results: Artifact) -> str:
    return results.repo_id if is_commit(results.revision) else Path(results.repo_id).name
