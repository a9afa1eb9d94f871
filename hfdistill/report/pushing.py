"""Put a report beside the results that it is about, where it changes nothing that is made from them."""

import shutil
from pathlib import Path

from ..artifacts.digests import REPORT, listing
from ..artifacts.errors import hub_errors
from ..artifacts.push import files_of
from ..errors import HFDistillError
from ..kinds import RESULTS
from .markdown import PICTURES
from .writing import WrittenReport


def push_report(report: WrittenReport) -> list[str]:
    """Put `report.md`, `report.html` and `pictures/` into the results of the report's first table, of every seed.

    They are no data: fingerprints and digests stay, nothing is made anew, and the next results take their place.

    Args:
        report ([`~hfdistill.report.writing.WrittenReport`]): as it was written.

    Returns:
        `list[str]`: the datasets, or folders.

    Raises:
        [`~hfdistill.errors.HFDistillError`]: if the table has no results, or the Hub refuses.
    """
    first = report.tables[0]
    found = [made.results for row in first.rows for made in row.seeds.values() if made.results is not None]
    if not found:
        raise HFDistillError(f"table {first.table} has no results to put the report beside: leave out --push")
    names = (*REPORT, PICTURES)
    files = {path: file for path, file in files_of(report.folder).items() if path.partition("/")[0] in names}
    places = list(dict.fromkeys(ref.partition("@")[0] for ref in found))
    for place in places:
        if Path(place).is_dir():
            shutil.rmtree(Path(place) / PICTURES, ignore_errors=True)
            for path, file in files.items():
                (Path(place) / path).parent.mkdir(exist_ok=True)
                shutil.copyfile(file, Path(place) / path)
        else:
            _commit(place, files)
    return places


def _commit(repo_id: str, files: dict[str, Path]) -> None:
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi

    api = HfApi()
    with hub_errors(RESULTS.repo_type, repo_id):
        there = listing(api, repo_id, RESULTS.repo_type, "main")
        stale = [path for path in there if path.startswith(f"{PICTURES}/") and path not in files]
        api.create_commit(
            repo_id,
            [
                *(CommitOperationAdd(path, str(file)) for path, file in files.items()),
                *map(CommitOperationDelete, stale),
            ],
            commit_message="report on the tables of ablations",
            repo_type=RESULTS.repo_type,
        )
