"""One Collection a run: the page on the Hub where all its artifacts stand together."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import HFDistillError
from ..kinds import Kind
from .errors import hub_errors


if TYPE_CHECKING:
    from huggingface_hub import HfApi

    from ..config import RunConfig

MAX_TITLE = 59
COLLECTION = "the Collection of run"


def add_to_collection(run: "RunConfig", namespace: str, kind: Kind, repo_id: str) -> None:
    """Add an artifact to the run's Collection, which is created on first use.

    A Hub without Collections, or a token that may not write them, is no reason to lose a finished stage: that is said
    in a line, and nothing else happens.
    """
    from huggingface_hub import HfApi

    api = HfApi()
    try:
        with hub_errors(COLLECTION, run.name):
            slug = _remembered(api, run, namespace)
            api.add_collection_item(slug, repo_id, kind.repo_type, note=note_of(kind, run.suffix), exists_ok=True)
    except HFDistillError as error:
        print(f"{repo_id} is published, but stands in no Collection: {error}")


def _remembered(api: "HfApi", run: "RunConfig", namespace: str) -> str:
    """The slug of the run's Collection: remembered in its output folder, found by title, or of a new one.

    The Hub puts a random suffix into the slug, so it cannot be derived from the run's name.
    """
    from huggingface_hub import constants
    from huggingface_hub.errors import HfHubHTTPError

    memory = Path(run.output_dir) / "collection.json"
    key = f"{constants.ENDPOINT} {namespace} {run.name}"
    known = json.loads(memory.read_text(encoding="utf-8")) if memory.is_file() else {}
    if key in known:
        try:
            return api.get_collection(known[key]).slug
        except HfHubHTTPError as error:
            if error.response.status_code != 404:
                raise
    slug = by_title(api, run.name, namespace, run.private)
    memory.parent.mkdir(parents=True, exist_ok=True)
    incoming = memory.with_suffix(".incoming")
    incoming.write_text(json.dumps({**known, key: slug}, indent=2) + "\n", encoding="utf-8")
    incoming.replace(memory)
    return slug


def by_title(api: "HfApi", name: str, namespace: str, private: bool) -> str:
    """The slug of the Collection of the run of this name; one is made if there is none."""
    title = title_of(name)
    found = next((each for each in api.list_collections(owner=namespace) if each.title == title), None)
    if found is None:
        about = f"Artifacts of the distillation run {name}, made by hfdistill"[:150]
        found = api.create_collection(title, namespace=namespace, description=about, private=private, exists_ok=True)
    return found.slug


def title_of(name: str) -> str:
    """The title of the Collection of a run."""
    return f"hfdistill: {name}"[:MAX_TITLE]


def note_of(kind: Kind, suffix: str = "") -> str:
    """What stands below an artifact in a Collection."""
    return kind.note[0].upper() + kind.note[1:] + (f" (variant {suffix.strip('-_')})" if suffix else "")
