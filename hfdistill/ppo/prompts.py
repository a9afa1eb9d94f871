"""Datasets of prompts, checked and encoded once: all of one at the start, or one without a length as it is read."""

from collections.abc import Iterable, Iterator, Sequence, Sized
from itertools import islice
from typing import Any

from transformers.utils import logging

from ..encoding import Encoder
from ..errors import HFDistillError, unknown
from .batching import update_rows


logger = logging.get_logger(__name__)

# What reward functions are called with beside the columns of the dataset.
KEYWORDS = frozenset({"prompts", "completions", "completion_ids", "trainer_state", "log_extra", "log_metric"})


class PromptDataset:
    """Rows of a dataset with a column `prompt` (text, or messages), their ids and other columns. A column `prompt_ids`
    says which ids a prompt is, where its dataset knows them.

    Attributes:
        dataset: where they come from.
        rows (`list[dict]`), prompt_ids (`list[list[int]]`): those that can be answered.
        replaced (`dict[str, dict[int, Any]]`): by column and row, what stands in for the dataset's own values.
    """

    def __init__(self, dataset: Iterable[dict[str, Any]], usable: Iterable[tuple[dict[str, Any], list[int]]]):
        self.dataset = dataset
        self.rows, self.prompt_ids = (list(column) for column in zip(*usable, strict=True))
        self.replaced: dict[str, dict[int, Any]] = {}

    def __len__(self) -> int:
        return len(self.rows)

    def of_update(self, update: int, size: int, seed: int) -> tuple["PromptDataset", list[int]]:
        """A dataset and which of its rows an update samples: here of this one, in a seeded order."""
        return self, update_rows(len(self), seed, update, size)

    def prompts(self, rows: Sequence[int]) -> list[Any]:
        """The prompts of these rows, as they are in the dataset."""
        return [self.rows[i]["prompt"] for i in rows]

    def columns(self, rows: Sequence[int]) -> dict[str, list[Any]]:
        """The other columns of these rows."""
        names = [name for name in self.rows[0] if name != "prompt"]
        instead = {name: self.replaced.get(name, {}) for name in names}
        return {name: [instead[name].get(i, self.rows[i][name]) for i in rows] for name in names}

    def completions(self, rows: Sequence[int], texts: Sequence[str]) -> list[Any]:
        """Completions as text, or as the assistant's message where the prompt is made of messages."""
        return [
            text if isinstance(self.rows[i]["prompt"], str) else [{"role": "assistant", "content": text}]
            for i, text in zip(rows, texts, strict=True)
        ]


class PromptStream:
    """A dataset without a length, read in its own order, and from its beginning again where it ends.

    What an update samples follows from its number alone: a resumed run reads, and skips, what came before. So the
    dataset must give the same rows whenever it is read.
    """

    def __init__(self, dataset: Iterable[dict[str, Any]], encoder: Encoder, max_length: int, role: str):
        self.dataset = dataset
        self._arguments = (dataset, encoder, max_length, role)
        self._read, self._coming = 0, self._passes()

    def of_update(self, update: int, size: int, seed: int) -> tuple[PromptDataset, list[int]]:
        """A dataset of the rows that an update samples, and their numbers in it; `seed` has no say."""
        if update * size < self._read:
            self._read, self._coming = 0, self._passes()
        rows = islice(self._coming, update * size - self._read, (update + 1) * size - self._read)
        prompts = PromptDataset(self.dataset, rows)
        self._read = (update + 1) * size
        return prompts, list(range(size))

    def _passes(self) -> Iterator[tuple[dict[str, Any], list[int]]]:
        while True:
            yield from usable_prompts(*self._arguments)


def open_prompts(
    dataset: Iterable[dict[str, Any]] | dict[str, Any] | None, encoder: Encoder, max_length: int, role: str
) -> PromptDataset | PromptStream:
    """The prompts to train on; of a `DatasetDict` those of its only split."""
    if isinstance(dataset, dict):
        if len(dataset) != 1:
            raise HFDistillError(f"{role} has the splits {', '.join(dataset)}: give one of them, {role}=dataset[…]")
        (dataset,) = dataset.values()
    if dataset is None:
        raise HFDistillError(f"PPO needs a {role} with a column 'prompt'")
    if isinstance(dataset, Sized):
        return PromptDataset(dataset, usable_prompts(dataset, encoder, max_length, role))
    if isinstance(dataset, Iterator) or not isinstance(dataset, Iterable):
        raise HFDistillError(
            f"{role} is a {type(dataset).__name__}, which cannot be read twice: give a list, a datasets.Dataset or a "
            "datasets.IterableDataset"
        )
    return PromptStream(dataset, encoder, max_length, role)


def usable_prompts(
    dataset: Iterable[dict[str, Any]], encoder: Encoder, max_length: int, role: str
) -> Iterator[tuple[dict[str, Any], list[int]]]:
    """The rows of a dataset that can be answered, with the ids of their prompts.

    Prompts that are empty or longer than `max_length` tokens are left out, with one warning at the end that counts
    them. Errors call the dataset by its `role`, for example `"train_dataset"`.
    """
    read = empty = long = 0
    for read, row in enumerate(dataset, 1):  # noqa: B007
        check_row(row, role)
        ids = row.get("prompt_ids") or (encoder.prompt_ids(row["prompt"]) if row["prompt"] else [])
        if not ids:
            empty += 1
        elif len(ids) > max_length:
            long += 1
        else:
            yield row, ids
    if not read:
        raise HFDistillError(f"{role} is empty: PPO needs at least one prompt")
    if empty + long == read:
        raise HFDistillError(
            f"{role} has no usable prompt: {empty} are empty and {long} longer than {max_length} tokens; raise "
            "max_prompt_length, or lower max_completion_length to leave more of the context to the prompt"
        )
    if empty or long:
        logger.warning(f"{role}: left out {empty} empty prompts and {long} longer than {max_length} tokens, of {read}")


def check_row(row: dict[str, Any], role: str) -> None:
    """Refuse a row without a prompt, and columns that reward functions could not tell from arguments."""
    if "prompt" not in row:
        raise unknown(f"layout of {role}: it has no column", "prompt", list(row))
    if not isinstance(row["prompt"], str | list | None):
        raise HFDistillError(
            f"{role} has the prompt {row['prompt']!r}: it must be a text, or a list of messages with role and content"
        )
    for name in KEYWORDS & row.keys():
        raise HFDistillError(
            f"{role} has a column {name!r}, and reward functions get something else by that name: rename it, "
            f"dataset.rename_column({name!r}, …)"
        )
