"""Text to tokens and back, as TGI does it."""

from collections import OrderedDict
from collections.abc import Sequence

from transformers import PreTrainedTokenizerFast

from ...errors import HFDistillError


_SURROUNDING = 5
_UNFINISHED = "\ufffd"


class Text:
    """A tokenizer on the way of every request, so it goes to the Rust object directly where that says the same.

    Args:
        tokenizer (`PreTrainedTokenizerFast`): with a chat template where there is to be chat.
    """

    def __init__(self, tokenizer):
        if not isinstance(tokenizer, PreTrainedTokenizerFast):
            raise HFDistillError(
                f"{tokenizer.name_or_path} has a {type(tokenizer).__name__} without tokenizer.json; convert it to a "
                "fast tokenizer first"
            )
        self.tokenizer = tokenizer
        self.backend = tokenizer.backend_tokenizer
        self.backend.no_truncation()
        self.backend.no_padding()
        self.special = frozenset(tokenizer.all_special_ids)
        self.eos_token_id = tokenizer.eos_token_id
        self.vocabulary = len(tokenizer)
        self._prefixes: OrderedDict[int, int] = OrderedDict()

    def encode(self, text: str, special_tokens: bool = True, truncate: int | None = None) -> list[int]:
        """The tokens of a prompt, the last `truncate` of them. An end-of-sequence token at its end is left away."""
        ids = self.backend.encode(text, add_special_tokens=special_tokens).ids
        if ids and special_tokens and ids[-1] == self.eos_token_id:
            ids = ids[:-1]
        return ids[-truncate:] if truncate else ids

    def decode(self, ids: Sequence[int]) -> str:
        """The text of tokens, without the special ones."""
        return self.backend.decode(ids, skip_special_tokens=True)

    def continuation(self, last: int, ids: list[int]) -> str:
        """The text of `ids` behind a prompt that ends in `last`, with the space between them where there is one."""
        length = self._prefixes.get(last)
        if length is None:
            length = self._prefixes[last] = len(self.decode([last]))
            if len(self._prefixes) > 10_000:
                self._prefixes.popitem(last=False)
        return self.decode([last, *ids])[length:]

    def pieces(self, prompt_ids: Sequence[int]) -> "Pieces":
        """Texts of single tokens behind a prompt."""
        return Pieces(self, prompt_ids)

    def is_special(self, token: int) -> bool:
        """Whether a token is no text."""
        return token in self.special

    def spans(self, text: str, special_tokens: bool) -> list[dict]:
        """Tokens with the part of the text that each one covers."""
        encoding = self.backend.encode(text, add_special_tokens=special_tokens)
        return [
            {"id": token, "text": text[start:stop], "start": start, "stop": stop}
            for token, (start, stop) in zip(encoding.ids, encoding.offsets, strict=True)
        ]


class Pieces:
    """The text that each further token adds. A token that is only a part of a character adds nothing, the one that
    completes it adds all.
    """

    def __init__(self, text: Text, prompt_ids: Sequence[int]):
        self.text = text
        self.ids = list(prompt_ids[-_SURROUNDING:])
        self.prefix = 0
        self.read = len(self.ids)

    def add(self, token: int) -> str:
        """The text that `token` adds."""
        self.ids.append(token)
        decode = self.text.backend.decode
        before = decode(self.ids[self.prefix : self.read], skip_special_tokens=False)
        now = decode(self.ids[self.prefix :], skip_special_tokens=False)
        if len(now) <= len(before) or now.endswith(_UNFINISHED):
            return ""
        self.prefix, self.read = self.read, len(self.ids)
        return now[len(before) :]
