"""Tokens of a request whose server does not count them: by the teacher's own tokenizer, else as many as its bytes."""

import sys
from dataclasses import replace
from pathlib import Path

from ..chat import Message
from .protocols import Completion


BY_TOKENIZER, BY_BYTES = "tokenizer", "bytes"
A_TURN = 16  # tokens that a chat template may add to each turn


class TokenCounter:
    """Counts what a server leaves out.

    Args:
        model (`str`): the teacher's name on the Hub, or its folder.
        longest (`int`): tokens that a response may have.
    """

    def __init__(self, model: str, longest: int):
        self._model, self._longest = model, longest
        self._tokenizer = None
        self._by: str | None = None

    def counted(self, prompt: str | list[Message], completion: Completion) -> Completion:
        """A response with the tokens of its prompt and its own; never too few where they are bounded by bytes."""
        if completion.prompt_tokens is not None and completion.completion_tokens is not None:
            return completion
        if self._by is None:
            self._by = self._find()
        turns = [prompt] if isinstance(prompt, str) else [turn["content"] for turn in prompt]
        asked = sum(self._size(turn) for turn in turns) + A_TURN * len(turns)
        said = self._size(completion.text) + self._size(completion.thought or "") + 1
        if self._by == BY_BYTES:  # what was cut away was paid for, too
            said = said + A_TURN if completion.finish_reason in ("stop", "eos_token") else self._longest
        return replace(
            completion,
            prompt_tokens=asked if completion.prompt_tokens is None else completion.prompt_tokens,
            completion_tokens=min(said, self._longest)
            if completion.completion_tokens is None
            else completion.completion_tokens,
            counted_by=self._by,
        )

    def _size(self, text: str) -> int:
        if self._tokenizer is None:
            return len(text.encode(errors="replace"))
        return len(self._tokenizer.encode(text, add_special_tokens=False).ids)

    def _find(self) -> str:
        """Find the tokenizer; what it is counted by is told once."""
        from huggingface_hub import hf_hub_download
        from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError
        from tokenizers import Tokenizer

        try:
            local = Path(self._model) / "tokenizer.json"
            file = local if local.is_file() else hf_hub_download(self._model, "tokenizer.json")
            self._tokenizer = Tokenizer.from_file(str(file))
        except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError):
            by, told = BY_BYTES, "so that they are taken for as many as there are bytes, which is more than they are"
        else:
            by, told = BY_TOKENIZER, f"so that the tokenizer of {self._model} counts them"
        print(f"the teacher's server does not tell how many tokens it charges for, {told}", file=sys.stderr)
        return by
