"""A completion as OpenAI's first API gave it: behind its prompt, with the log-probability of each token of both."""

from typing import Any

from .bodies import CompletionRequest
from .service import Finished
from .text import Text


def completion_choice(
    text: Text, prompt: str | list[int], response: Finished, wanted: CompletionRequest
) -> dict[str, Any]:
    """Text and log-probabilities of a response to a prompt.

    Returns:
        `dict[str, Any]`: `text`, and `logprobs`: `None`, or lists of one entry a token: `tokens`, `token_logprobs` (of
        the first token of a prompt `None`), `top_logprobs` (the tokens asked for and the one that is there) and
        `text_offset` (where it begins in the text).
    """
    before = prompt if isinstance(prompt, str) else text.decode(prompt)
    shown = (before if wanted.echo else "") + (response.text if wanted.drawn else "")
    if not wanted.logprobs:
        return {"text": shown, "logprobs": None}
    prompt_ids, done = response.job.prompt_ids, response.done
    found, pieces = [], text.pieces([] if wanted.echo else prompt_ids)
    if wanted.echo:
        found += [*zip(prompt_ids, [None, *done.prompt], strict=True)]
    if wanted.drawn:
        found += zip(done.token_ids, done.likelihoods, strict=True)
    logprobs: dict[str, list] = {"tokens": [], "token_logprobs": [], "top_logprobs": [], "text_offset": []}
    offset = 0 if wanted.echo else len(before)
    for token, likelihood in found:
        piece = pieces.add(token)
        top = None
        if likelihood is not None:
            top = {}
            for other, logprob in [*likelihood.top, (token, likelihood.logprob)]:
                top.setdefault(piece if other == token else text.pieces([]).add(other), logprob)
        values = (piece, likelihood and likelihood.logprob, top, offset)
        for column, value in zip(logprobs.values(), values, strict=True):
            column.append(value)
        offset += 0 if text.is_special(token) else len(piece)
    return {"text": shown, "logprobs": logprobs}
