"""The student as it comes, read without its weights: pad and end tokens, and whether it is an instruct model."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .chat import Chat
from .encoding import Encoder, turn_end
from .errors import HFDistillError
from .sections import StudentConfig


if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

# Tokens that are there to pad, or for nothing yet, as vocabularies name them.
SPARE = ("pad", "reserved", "unused", "placeholder", "dummy", "extra", "unk", "endoftext", "file", "repo", "fim")
# What a section `student` says of how it is asked.
ASKED = ("pad_token", "chat", "system_prompt", "prefill", "chat_template_kwargs")
# Tokens that a template makes of a turn's role.
ROLES = ("system", "user", "assistant", "model", "tool")


def load_encoder(folder: str | Path, student: StudentConfig | None = None) -> Encoder:
    """The encoder of the student, or of a model that was made from it.

    `student.pad_token` goes before the tokenizer's own pad token. Where that is none, or ends responses, a token that
    the model has no other use for is taken, and said: [`spare_token`] gives every stage the same.

    Args:
        folder (`str` or `Path`): of the model.
        student ([`~hfdistill.sections.StudentConfig`], *optional*): how it is asked; as the model's files say by
            default.

    Raises:
        [`~hfdistill.errors.HFDistillError`]: see [`~hfdistill.encoding.Encoder`]; and if the pad token is not in the
            vocabulary, or no token is left to pad with.
    """
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    ends = end_tokens(folder)
    chat, wanted = (conversation(student), student.chat) if student else (Chat(), None)
    if wanted is None:
        wanted = is_instruct(tokenizer, ends, chat)
        if not wanted and chat != Chat():
            raise HFDistillError(
                f"{folder} is a base model, which is asked in text, and student.system_prompt, prefill and "
                "chat_template_kwargs belong to conversations: leave them out, or set student.chat: true"
            )
    if not wanted:
        # A published model has a template only where it was trained on it.
        tokenizer.chat_template = None
    settle_pad_token(tokenizer, ends, student and student.pad_token)
    return Encoder(tokenizer, ends, chat if wanted else None)


def conversation(student: StudentConfig) -> Chat:
    """What stands around a question, where it is put through the student's chat template."""
    return Chat(student.system_prompt, student.chat_template_kwargs or {}, student.prefill)


def asked_as(manifest: Mapping[str, Any], model: str, student: StudentConfig) -> StudentConfig:
    """How a model of a table is asked: as its own manifest says where hfdistill made it, as the configuration's
    student if it is that one, and else as its files say.
    """
    if manifest.get("student"):
        told = {name: manifest["student"].get(name) for name in ASKED}
        return replace(student, **told)
    if model in (student.model, str(Path(student.model))):
        return student
    return replace(student, **dict.fromkeys(ASKED))


def settle_pad_token(
    tokenizer: "PreTrainedTokenizerBase", end_token_ids: Sequence[int], pad_token: str | None = None
) -> None:
    """Give a tokenizer the pad token that is named, or one to spare where its own is none, or ends responses."""
    from transformers.utils import logging

    name, before = tokenizer.name_or_path, tokenizer.pad_token
    if pad_token is not None:
        if pad_token not in tokenizer.get_vocab():
            raise HFDistillError(
                f"student.pad_token {pad_token!r} is not in the vocabulary of {name}: name a token that is, so that "
                "the model's embeddings stay as they are"
            )
        tokenizer.pad_token = pad_token
    elif before is None or tokenizer.pad_token_id in {tokenizer.eos_token_id, *end_token_ids}:
        tokenizer.pad_token = spare_token(tokenizer, end_token_ids)
        why = "has no pad token" if before is None else f"pads with {before!r}, which ends responses"
        logging.get_logger(__name__).warning_once(
            f"the tokenizer of {Path(name).name} {why}: {tokenizer.pad_token!r} pads instead; student.pad_token names "
            "another"
        )


def end_tokens(folder: str | Path) -> list[int]:
    """The end tokens that a model's `generation_config.json` names, or its configuration where it has none."""
    from transformers import AutoConfig, GenerationConfig

    try:
        ends = GenerationConfig.from_pretrained(folder).eos_token_id
    except OSError:
        ends = AutoConfig.from_pretrained(folder).get_text_config().eos_token_id
    return as_list(ends)


def as_list(token_ids: int | Sequence[int] | None) -> list[int]:
    """Token ids as a configuration has them, as a list."""
    return [] if token_ids is None else [token_ids] if isinstance(token_ids, int) else list(token_ids)


def is_instruct(tokenizer: "PreTrainedTokenizerBase", end_token_ids: Iterable[int], chat: Chat) -> bool:
    """Whether a model was trained on conversations: its template writes a token behind an assistant's turn that ends
    its responses. Base models often come with a template, too, but end at another token.
    """
    if tokenizer.chat_template is None:
        return False
    return turn_end(tokenizer, chat) in {tokenizer.eos_token_id, *end_token_ids} - {None}


def spare_token(tokenizer: "PreTrainedTokenizerBase", end_token_ids: Iterable[int]) -> str:
    """A token of the vocabulary to pad with: one that no text, prompt or response needs."""
    taken = {tokenizer.eos_token_id, tokenizer.bos_token_id, *end_token_ids}
    free = [
        token
        for index, token in tokenizer.added_tokens_decoder.items()
        if index not in taken
        and token.content not in (tokenizer.chat_template or "")
        and not any(role in token.content for role in ROLES)
    ]
    special = [token.content for token in free if token.special]
    # What is no special token may be a piece of text, unless it says that it is not.
    named = [token.content for token in free if not token.special and re.fullmatch(r"<.*>|\[.*\]", token.content)]
    for purpose in SPARE:
        for content in [*special, *named]:
            if purpose in content.lower():
                return content
    if special:
        return special[0]
    raise HFDistillError(
        f"the tokenizer {tokenizer.name_or_path!r} has no token to spare for padding: name one of its vocabulary that "
        "the model never writes by student.pad_token"
    )


def settle_generation(model: "PreTrainedModel", encoder: Encoder, max_new_tokens: int) -> None:
    """Let a model that will be published generate as it is trained and evaluated, greedily, and by nothing that the
    base model brought along.
    """
    from transformers import GenerationConfig

    model.config.pad_token_id = encoder.pad_token_id
    model.generation_config = GenerationConfig(
        eos_token_id=encoder.end_token_ids if len(encoder.end_token_ids) > 1 else encoder.eos_token_id,
        pad_token_id=encoder.pad_token_id,
        bos_token_id=encoder.tokenizer.bos_token_id,
        do_sample=False,
        use_cache=True,
        max_new_tokens=max_new_tokens,
    )
