"""Strings that end a response."""

from collections.abc import Sequence

import numpy as np


class StopStrings:
    """Says whether a response contains one of some strings. Most tokens cannot complete any of them, and which can is
    known beforehand (`may_end`), so a running batch decodes text only where it may matter.

    Args:
        tokenizer: a Hugging Face tokenizer.
        strings (`Sequence[str]`): what ends a response; an empty one does so after the first token.
        pieces (`list[str]`, *optional*): every token's text, from [`token_pieces`], where the caller keeps it.
    """

    def __init__(self, tokenizer, strings: Sequence[str], pieces: list[str] | None = None):
        self.tokenizer = tokenizer
        self.strings = tuple(strings)
        pieces = token_pieces(tokenizer) if pieces is None else pieces
        last = {string[-1:] for string in self.strings}
        # Tokenizers of words put the space in when they join, so the text of no single token shows it; a piece that is
        # part of a character shows as a replacement character.
        self._anywhere = not last.isdisjoint(" ") or "" in last
        self._endings = np.array(["\ufffd" in piece or not last.isdisjoint(piece) for piece in pieces], dtype=bool)
        self._reach = max(len(string) for string in self.strings) + 8

    def may_end(self, token: int) -> bool:
        """Whether a response that ends in `token` may contain a string that it did not contain before. A token beyond
        the tokenizer's, of which many models have some, is no text.
        """
        return self._anywhere or (token < len(self._endings) and bool(self._endings[token]))

    def __call__(self, token_ids: Sequence[int]) -> bool:
        text = self.tokenizer.decode(token_ids[-self._reach :], skip_special_tokens=True)
        return any(string in text for string in self.strings)


def token_pieces(tokenizer) -> list[str]:
    """The text of every token alone, by id."""
    return tokenizer.batch_decode([[token] for token in range(max(tokenizer.get_vocab().values()) + 1)])
