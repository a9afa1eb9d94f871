"""Rows of a benchmark: from the Hub, or from files of one's own."""

import re
from collections.abc import Iterator
from pathlib import Path

from ..errors import HFDistillError
from .files import SUFFIXES, rows_of, without_compression
from .json_rows import BrokenRow


SHARD = re.compile(r"-\d{5}-of-\d{5}$")


def load_rows(
    name: str,
    dataset: str,
    split: str,
    subset: str | None = None,
    revision: str | None = None,
    path: str | None = None,
) -> list[dict]:
    """The rows of one split.

    Args:
        name (`str`): the task, whose name may stand before the split in a file's name.
        dataset (`str`): repository on the Hub; not asked when `path` is given.
        split (`str`): name of the split.
        subset (`str`, *optional*): the dataset's configuration.
        revision (`str`, *optional*): branch, tag or commit; golds change between versions, so results pin it.
        path (`str`, *optional*): a file, or a folder with files named after the split (`train.jsonl`,
            `gsm8k_train.jsonl`, `train-00000-of-00001.parquet`).
    """
    if path is not None:
        files = split_files(name, path, split)
        if not files:
            raise HFDistillError(
                f"no file of the split '{split}' in {path}: expected a name such as {split}.jsonl or {split}.parquet"
            )
        return [row for file in files for row in read_file(file)]
    from datasets import load_dataset
    from huggingface_hub.errors import HfHubHTTPError

    at = f"{dataset}@{revision}" if revision else dataset
    try:
        rows = load_dataset(dataset, subset, split=split, revision=revision)
    except (HfHubHTTPError, ConnectionError, FileNotFoundError) as error:
        raise HFDistillError(
            f"cannot read the dataset {at} ({type(error).__name__}): check the name, the revision, HF_ENDPOINT and "
            "HF_TOKEN, or give a folder of files as `path`"
        ) from error
    except ValueError as error:
        raise HFDistillError(
            f"the dataset {at} has no split '{split}' in {subset or 'its default subset'}: {error}"
        ) from error
    return list(rows)


def split_files(name: str, path: str, split: str) -> list[Path]:
    """The files of a split: `path` itself when it is a file, else those in the folder named after the split."""
    place = Path(path).expanduser()
    if place.is_file():
        return [place]
    if not place.is_dir():
        raise HFDistillError(f"the path {path} of task {name} is neither a file nor a folder")
    wanted = {squeeze(split), squeeze(name + split)}
    return sorted(
        file
        for file in place.iterdir()
        if without_compression(file).suffix in SUFFIXES
        and squeeze(SHARD.sub("", without_compression(file).stem)) in wanted
        and file.is_file()
    )


def refuse_file(name: str, path: str | None) -> None:
    """Refuses one file for several splits: the same questions would train and test."""
    if path is not None and Path(path).expanduser().is_file():
        raise HFDistillError(f"task {name} reads several splits, and {path} is one file: give the folder of its files")


def squeeze(name: str) -> str:
    return name.lower().replace("_", "").replace("-", "").replace(".", "")


def read_file(file: Path) -> Iterator[dict]:
    """Rows of one file, in order; one that is broken is an error with its number."""
    for number, row in enumerate(rows_of(file), 1):
        if isinstance(row, BrokenRow):
            raise HFDistillError(f"{file}, row {number}: {row.reason.replace('_', ' ')} ({row.detail})")
        yield row


def column(row: dict, name: str, number: int, source: str) -> object:
    """The value of a row's column; a missing one is an error that lists what the row has."""
    if name not in row:
        raise HFDistillError(f"{source}, row {number}: no column '{name}'; it has {', '.join(sorted(row))}")
    return row[name]
