"""A dataset of prompts, checked and encoded once."""

from collections.abc import Sequence
from typing import Any

from transformers.utils import logging

from ..encoding import Encoder
from ..errors import HFDistillError, unknown


logger = logging.get_logger(__name__)


class PromptDataset:
    """The usable rows of a dataset with a column `prompt` (text, or messages), their ids and other columns.

    Prompts that are empty or longer than `max_length` tokens are left out, with one warning that counts them. Errors
    call the dataset by its `role`, for example `"train_dataset"`.
    """

    def __init__(self, dataset: Sequence[dict[str, Any]], encoder: Encoder, max_length: int | None, role: str):
        if len(dataset) == 0:
            raise HFDistillError(f"{role} is empty: PPO needs at least one prompt")
        first = dataset[0]
        if "prompt" not in first:
            raise unknown(f"layout of {role}: it has no column", "prompt", list(first))
        self.rows: list[dict[str, Any]] = []
        self.prompt_ids: list[list[int]] = []
        empty = long = 0
        for row in dataset:
            ids = encoder.prompt_ids(row["prompt"]) if row["prompt"] else []
            if not ids:
                empty += 1
            elif max_length is not None and len(ids) > max_length:
                long += 1
            else:
                self.rows.append(row)
                self.prompt_ids.append(ids)
        if empty or long:
            logger.warning(
                f"{role}: left out {empty} empty prompts and {long} longer than {max_length} tokens, of {len(dataset)}"
            )
        if not self.rows:
            raise HFDistillError(
                f"{role} has no usable prompt: {empty} are empty and {long} longer than {max_length} tokens; raise "
                "max_prompt_length, or lower max_completion_length to leave more of the context to the prompt"
            )

    def __len__(self) -> int:
        return len(self.rows)

    def prompts(self, rows: Sequence[int]) -> list[Any]:
        """The prompts of these rows, as they are in the dataset."""
        return [self.rows[i]["prompt"] for i in rows]

    def columns(self, rows: Sequence[int]) -> dict[str, list[Any]]:
        """The other columns of these rows."""
        names = [name for name in self.rows[0] if name != "prompt"]
        return {name: [self.rows[i][name] for i in rows] for name in names}

    def completions(self, rows: Sequence[int], texts: Sequence[str]) -> list[Any]:
        """Completions as text, or as the assistant's message where the prompt is made of messages."""
        return [
            text if isinstance(self.rows[i]["prompt"], str) else [{"role": "assistant", "content": text}]
            for i, text in zip(rows, texts, strict=True)
        ]
