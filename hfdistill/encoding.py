"""The only place where texts become token ids, for warm-up, reward model, PPO and evaluation alike.

What a model samples is ids already, and stays those ids: read back from text, some responses become others.

Prompt and response are tokenized apart and joined as ids. Tokenized together, a token may span the border, and the
model would train on a context that it never meets when it answers.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from .chat import Chat, Message
from .errors import HFDistillError


if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from .tasks.base import Question, Task

# Stands for the special token of this number that is written in somebody's text, while a prompt is put together.
_LITERAL = "\ue000token {}\ue001"


class Encoder:
    """Turn prompts and responses into ids and back.

    Args:
        tokenizer (`PreTrainedTokenizerBase`): needs an end-of-sequence token and a pad token of its own.
        end_token_ids (`Iterable[int]`, *optional*): further tokens that end a response, as a model's
            `generation_config` names them.
        chat ([`~hfdistill.chat.Chat`], *optional*): put questions through the tokenizer's chat template.

    Attributes:
        eos_token_id (`int`): what a response to be learnt from ends in: the tokenizer's end-of-sequence token, or, in
            a conversation, what the template writes behind an assistant's turn.
        end_token_ids (`list[int]`): everything that ends a response, `eos_token_id` first.
        pad_token_id (`int`): fills up rows.

    Raises:
        [`~hfdistill.errors.HFDistillError`]: if the tokenizer has no end-of-sequence token, no pad token, or pads with
            a token that ends a response: the reward would be read one token too early. And if its chat template is
            wanted and there is none, or it cannot render a conversation.
    """

    def __init__(
        self, tokenizer: "PreTrainedTokenizerBase", end_token_ids: Iterable[int] = (), chat: Chat | None = None
    ):
        name = tokenizer.name_or_path or type(tokenizer).__name__
        first = [None if chat is None else turn_end(tokenizer, chat), tokenizer.eos_token_id]
        ends = [*(token for token in first if token is not None), *end_token_ids]
        if not ends:
            raise HFDistillError(
                f"the tokenizer {name!r} has no eos_token, and its model names no end token: nothing would end a "
                "response; set one, and save it with the model"
            )
        self.tokenizer, self.chat = tokenizer, chat
        self.eos_token_id: int = ends[0]
        self.end_token_ids: list[int] = list(dict.fromkeys(ends))
        if tokenizer.pad_token_id is None:
            raise HFDistillError(
                f"the tokenizer {name!r} has no pad_token: set it to a token of its vocabulary that is not "
                f"{tokenizer.eos_token!r}, in a configuration by student.pad_token"
            )
        if tokenizer.pad_token_id in self.end_token_ids:
            raise HFDistillError(
                f"the tokenizer {name!r} uses {tokenizer.pad_token!r} both to pad and to end a response: set its "
                "pad_token to another token of its vocabulary, in a configuration by student.pad_token (Llama 3 has "
                "'<|finetune_right_pad_id|>', Qwen '<|fim_pad|>')"
            )
        self.pad_token_id: int = tokenizer.pad_token_id
        added = tokenizer.added_tokens_decoder.values()
        self._special = [token.content for token in added if token.special]
        self._written = _any_of(sorted(self._special, key=len, reverse=True))
        self._literal = {_LITERAL.format(number): token for number, token in enumerate(self._special)}
        self._masked = _any_of(self._literal)
        bare = tokenizer("a", add_special_tokens=False)["input_ids"]
        whole = tokenizer("a")["input_ids"]
        # What the tokenizer puts in front of a text; what some put behind it would end the response before it begins.
        self._beginning: list[int] = whole[: whole.index(bare[0])] if bare and bare[0] in whole else []

    def prompt(self, task: "Task", question: "Question", shots: int = 0) -> str | list[Message]:
        """What stands in front of a response to a question, with so many worked examples: a text, or, in a
        conversation, its messages.
        """
        if self.chat is None:
            return task.prompt(question, shots=shots)
        return self.chat.messages(task, question, shots)

    def stop(self, task: "Task", shots: int) -> tuple[str, ...]:
        """Texts that end a response: behind worked examples the task's, since a base model goes on with another
        question; a student that saw bare prompts in training ends by itself, and so does every turn of a conversation.
        """
        return task.stop if shots and self.chat is None else ()

    def question_ids(self, task: "Task", question: "Question", shots: int = 0) -> list[int]:
        """Ids of [`~Encoder.prompt`]. A special token that is written in the question is text."""
        masked = replace(
            question,
            question=self._mask(question.question),
            options=question.options and tuple(map(self._mask, question.options)),
        )
        prompt = self.prompt(task, masked, shots)
        return self._text_ids(prompt) if isinstance(prompt, str) else self._message_ids(prompt)

    def prompt_ids(self, prompt: str | Sequence[Message]) -> list[int]:
        """Ids of a text, or of messages by the chat template, with what the tokenizer puts in front of a text.

        In a text special tokens are tokens, so that one rendered by a chat template is read as such, and does not get
        its beginning twice; in the content of messages they are text. Messages that end in an assistant's are gone on
        with.
        """
        return self._text_ids(prompt) if isinstance(prompt, str) else self._message_ids(prompt)

    def response_ids(self, response: str, finished: bool = True) -> list[int]:
        """Ids of a response, and the end token if the response is `finished` (not cut off by length). A special token
        that is written in it is text; a prefill is not among the ids, since the prompt ends in it.
        """
        ids = self._literal_ids(response.removeprefix(self._prefill))
        return [*ids, self.eos_token_id] if finished else ids

    def finished_ids(self, ids: Sequence[int], text: str) -> list[int]:
        """Ids of a response that a stop string ended, with the end token behind them: those of its `text` among the
        sampled ones where a token ends there, and the text's own where none does.
        """
        for end in range(len(ids), 0, -1):
            if self.decode(ids[:end]) == text:
                return [*ids[:end], self.eos_token_id]
        return self.response_ids(text)

    def decode(self, ids: Sequence[int]) -> str:
        """Text of a response's ids behind its prefill, exactly, without special tokens."""
        text = self.tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        return self._prefill + text

    @property
    def _prefill(self) -> str:
        return "" if self.chat is None else self.chat.prefill or ""

    def told(self) -> dict[str, Any]:
        """What a card needs to know of it."""
        return {"chat": self.chat is not None, "end_token": self.tokenizer.convert_ids_to_tokens(self.eos_token_id)}

    def ended(self, ids: Sequence[int]) -> bool:
        """Whether a response's ids end in one of its end tokens."""
        return bool(ids) and ids[-1] in self.end_token_ids

    def _text_ids(self, text: str) -> list[int]:
        ids = self._ids(text)
        return ids if ids[: len(self._beginning)] == self._beginning else self._beginning + ids

    def _message_ids(self, messages: Sequence[Message]) -> list[int]:
        masked = [
            {**turn, "content": self._mask(turn["content"])} if isinstance(turn.get("content"), str) else turn
            for turn in messages
        ]
        return self._ids(render(self.tokenizer, masked, self.chat or Chat()))

    def _mask(self, text: str) -> str:
        return self._written.sub(lambda found: _LITERAL.format(self._special.index(found[0])), text)

    def _ids(self, text: str) -> list[int]:
        """Special tokens are tokens, but for masked ones."""
        ids: list[int] = []
        for piece in filter(None, self._masked.split(text)):
            written = self._literal.get(piece)
            ids += (
                self._literal_ids(written) if written else self.tokenizer(piece, add_special_tokens=False)["input_ids"]
            )
        return ids

    def _literal_ids(self, text: str) -> list[int]:
        return list(self.tokenizer(text, add_special_tokens=False, split_special_tokens=True)["input_ids"])


def _any_of(texts: Iterable[str]) -> re.Pattern[str]:
    """Finds any of some texts, and keeps it where it splits."""
    return re.compile(f"({'|'.join(map(re.escape, texts)) or '(?!)'})")


def render(tokenizer: "PreTrainedTokenizerBase", messages: Sequence[Message], chat: Chat) -> str:
    """Messages as text, by the tokenizer's chat template, up to where the assistant is to go on.

    Raises:
        [`~hfdistill.errors.HFDistillError`]: if there is no template, or it refuses these messages.
    """
    if tokenizer.chat_template is None:
        raise HFDistillError(
            f"the tokenizer {tokenizer.name_or_path!r} has no chat template, which a prompt made of messages needs: "
            "name an instruct model, or ask in text, in a configuration by student.chat: false"
        )
    goes_on = messages[-1]["role"] == "assistant"
    return _apply(tokenizer, messages, chat, add_generation_prompt=not goes_on, continue_final_message=goes_on)


def turn_end(tokenizer: "PreTrainedTokenizerBase", chat: Chat) -> int | None:
    """The token that the chat template writes behind an assistant's turn; `None` if it writes no special token."""
    if tokenizer.chat_template is None:
        render(tokenizer, [{"role": "user", "content": ""}], chat)
    answer = "An answer."
    turns = [{"role": "user", "content": "A question?"}, {"role": "assistant", "content": answer}]
    behind = _apply(tokenizer, turns, chat).rpartition(answer)[2]
    special = {index for index, token in tokenizer.added_tokens_decoder.items() if token.special}
    return next((i for i in tokenizer(behind, add_special_tokens=False)["input_ids"] if i in special), None)


def _apply(tokenizer: "PreTrainedTokenizerBase", messages: Sequence[Message], chat: Chat, **how: bool) -> str:
    from jinja2 import TemplateError

    try:
        return tokenizer.apply_chat_template(list(messages), tokenize=False, **how, **chat.template_kwargs)
    except (TemplateError, ValueError, TypeError) as error:
        raise HFDistillError(
            f"the chat template of {tokenizer.name_or_path!r} refuses a conversation of "
            f"{', '.join(turn['role'] for turn in messages)}: {' '.join(str(error).split())}; change its messages, in "
            "a configuration by student.system_prompt or student.prefill, or student.chat_template_kwargs"
        ) from error


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
