"""The only place where texts become token ids, for warm-up, reward model, PPO and evaluation alike.

What a model samples is ids already.

Prompt and response are tokenized apart and joined as ids. Tokenized together, a token may span the border, and the
model would train on a context that it never meets when it answers.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from .errors import HFDistillError


if TYPE_CHECKING:
    from pathlib import Path

    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


def load_tokenizer(folder: "str | Path", pad_token: str | None = None) -> "PreTrainedTokenizerBase":
    """Load a model's tokenizer, with a pad token even where the model's authors set none.

    Args:
        folder (`str` or `Path`): folder or repository of the model.
        pad_token (`str`, *optional*): token of its vocabulary to pad with, if the tokenizer has no pad token of its
            own; Llama 3's base models have `"<|finetune_right_pad_id|>"` for it.

    Raises:
        [`~hfdistill.errors.HFDistillError`]: if the vocabulary does not hold that token.
    """
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    if tokenizer.pad_token is None and pad_token is not None:
        if pad_token not in tokenizer.get_vocab():
            raise HFDistillError(
                f"student.pad_token {pad_token!r} is not in the vocabulary of {folder}: name a token that is, so that "
                "the model's embeddings stay as they are"
            )
        tokenizer.pad_token = pad_token
    return tokenizer


class Encoder:
    """Turn prompts and responses into ids and back.

    Args:
        tokenizer (`PreTrainedTokenizerBase`): needs an end-of-sequence token and a pad token of its own.

    Raises:
        [`~hfdistill.errors.HFDistillError`]: if the tokenizer has no end-of-sequence token, no pad token, or the same
            token for both. With pad equal to end-of-sequence, the reward would be read one token too early.
    """

    def __init__(self, tokenizer: "PreTrainedTokenizerBase"):
        name = tokenizer.name_or_path or type(tokenizer).__name__
        if tokenizer.eos_token_id is None:
            raise HFDistillError(f"the tokenizer {name!r} has no eos_token: set one, and save it with the model")
        if tokenizer.pad_token_id is None:
            raise HFDistillError(
                f"the tokenizer {name!r} has no pad_token: set it to a token of its vocabulary that is not "
                f"{tokenizer.eos_token!r}, in a configuration by student.pad_token"
            )
        if tokenizer.pad_token_id == tokenizer.eos_token_id:
            raise HFDistillError(
                f"the tokenizer {name!r} uses {tokenizer.eos_token!r} both to pad and to end a sequence: "
                "choose another pad_token (Llama 3 has '<|finetune_right_pad_id|>', Qwen '<|endoftext|>')"
            )
        self.tokenizer = tokenizer
        self.eos_token_id: int = tokenizer.eos_token_id
        self.pad_token_id: int = tokenizer.pad_token_id

    def prompt_ids(self, prompt: "str | Sequence[dict[str, str]]") -> list[int]:
        """Ids of a prompt (text, or messages for the chat template), with the special tokens that the tokenizer puts
        in front of a text.

        A prompt rendered by a chat template already starts with them and does not get them twice.
        """
        if not isinstance(prompt, str):
            prompt = self.tokenizer.apply_chat_template(prompt, add_generation_prompt=True, tokenize=False)
        bos = self.tokenizer.bos_token
        ids = self.tokenizer(prompt, add_special_tokens=bos is None or not prompt.startswith(bos))["input_ids"]
        return ids[:-1] if ids and ids[-1] == self.eos_token_id else ids

    def response_ids(self, response: str, finished: bool = True) -> list[int]:
        """Ids of a response, and the end-of-sequence token if the response is `finished` (not cut off by length)."""
        ids = self.tokenizer(response, add_special_tokens=False)["input_ids"]
        return [*ids, self.eos_token_id] if finished else ids

    def decode(self, ids: Sequence[int]) -> str:
        """Text of a response's ids, without special tokens."""
        return self.tokenizer.decode(ids, skip_special_tokens=True)


def cut(text: str, stop: Sequence[str]) -> str:
    """The text before the first of the stop strings, none of which belongs to a response."""
    ends = [text.find(string) for string in stop]
    return text[: min([end for end in ends if end >= 0], default=len(text))]


def right_pad(sequences: Sequence[Sequence[int]], pad_token_id: int) -> tuple["torch.Tensor", "torch.Tensor"]:
    """Pad at the end, where no causal position looks.

    Returns:
        `tuple[torch.Tensor, torch.Tensor]`: ids and attention mask, both int64 `(batch, time)`.
    """
    import torch

    time = max(len(ids) for ids in sequences)
    rows = [[*ids, *[pad_token_id] * (time - len(ids))] for ids in sequences]
    masks = [[1] * len(ids) + [0] * (time - len(ids)) for ids in sequences]
    return torch.tensor(rows), torch.tensor(masks)


def check_vocabulary(model: "PreTrainedModel", policy: "PreTrainedModel", role: str) -> None:
    """Refuse a model that knows other tokens than the policy."""
    theirs, ours = model.config.get_text_config().vocab_size, policy.config.get_text_config().vocab_size
    if theirs != ours:
        raise HFDistillError(
            f"the {role} {model.name_or_path!r} knows {theirs} tokens and the policy {ours}: both must use the same "
            "tokenizer"
        )
