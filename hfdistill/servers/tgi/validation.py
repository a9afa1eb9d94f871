"""What a request may ask for. Checks stand in TGI's order and refuse with TGI's sentences."""

import secrets
from dataclasses import dataclass

from ...generation.sampling import Sampling
from .bodies import Parameters
from .errors import ValidationError
from .text import Text


# TGI reads an f32, which is zero from here down.
_ZERO = 2.0**-150


@dataclass(frozen=True)
class Limits:
    """The limits that `/info` tells.

    Args:
        max_concurrent_requests (`int`): under way at a time; more are refused.
        max_total_tokens (`int`): of prompt and response.
        max_input_tokens (`int`): of a prompt.
    """

    max_concurrent_requests: int
    max_total_tokens: int
    max_input_tokens: int
    max_best_of: int = 2
    max_stop_sequences: int = 4
    max_top_n_tokens: int = 5
    max_client_batch_size: int = 4


@dataclass(slots=True)
class Job:
    """A request that was found good: what the engine needs."""

    prompt_ids: list[int]
    sampling: Sampling
    stop: tuple[str, ...]
    seed: int | None
    likelihood: bool
    top_tokens: int
    prompt_likelihood: bool
    stream: bool


def validate(
    inputs: str | list[int],
    parameters: Parameters,
    limits: Limits,
    text: Text,
    *,
    special_tokens: bool = True,
    stream: bool = False,
) -> Job:
    """Raises: `ValidationError`: with the first thing that is wrong."""
    drawing = parameters.do_sample
    best_of = 1 if parameters.best_of is None else parameters.best_of
    if best_of > 1 and not (drawing or _any_given(parameters)):
        raise ValidationError("you must use sampling when `best_of` is > 1")
    temperature = 1.0 if parameters.temperature is None else parameters.temperature
    if not temperature > _ZERO:
        raise ValidationError("`temperature` must be strictly positive")
    if parameters.repetition_penalty is not None and not parameters.repetition_penalty > _ZERO:
        raise ValidationError("`repetition_penalty` must be strictly positive")
    if parameters.frequency_penalty is not None and not -2 <= parameters.frequency_penalty <= 2:
        raise ValidationError("`frequency_penalty` must be >= -2.0 and <= 2.0")
    if parameters.presence_penalty is not None and not -2 <= parameters.presence_penalty <= 2:
        raise ValidationError("`presence_penalty` must be >= -2.0 and <= 2.0")
    if parameters.min_p is not None and not 0 < parameters.min_p <= 1:
        raise ValidationError("`min_p` must be >= 0.0 and <= 1.0")
    if parameters.top_p is not None and not 0 < parameters.top_p < 1:
        raise ValidationError("`top_p` must be > 0.0 and < 1.0")
    if parameters.typical_p is not None and not 0 < parameters.typical_p < 1:
        raise ValidationError("`typical_p` must be > 0.0 and < 1.0")
    if parameters.top_k is not None and parameters.top_k <= 0:
        raise ValidationError("`top_k` must be strictly positive")
    if parameters.max_new_tokens == 0:
        raise ValidationError("`max_new_tokens` must be strictly positive")
    if len(parameters.stop) > limits.max_stop_sequences:
        raise ValidationError(
            f"`stop` supports up to {limits.max_stop_sequences} stop sequences. Given: {len(parameters.stop)}"
        )
    if parameters.seed is not None and best_of > 1:
        raise ValidationError("`seed` must not be set when `best_of` > 1")
    top_tokens = parameters.top_n_tokens or 0
    if top_tokens > limits.max_top_n_tokens:
        raise ValidationError(f"`top_n_tokens` must be >= 0 and <= {limits.max_top_n_tokens}. Given: {top_tokens}")
    if not inputs:
        raise ValidationError("`inputs` cannot be empty")
    if parameters.truncate is not None and not 0 < parameters.truncate <= limits.max_input_tokens:
        raise ValidationError(
            f"`truncate` must be strictly positive and less than {limits.max_input_tokens}. "
            f"Given: {parameters.truncate}"
        )
    if isinstance(inputs, str):
        prompt_ids = text.encode(inputs, special_tokens, parameters.truncate)
    else:
        prompt_ids = inputs
        if not all(0 <= token < text.vocabulary for token in inputs):
            raise ValidationError(f"`prompt` has a token beyond the vocabulary of {text.vocabulary}")
    max_new_tokens = _check_lengths(prompt_ids, parameters.max_new_tokens, limits)
    _check_unsupported(parameters)
    draws = drawing or temperature != 1.0 or parameters.top_k or parameters.top_p or parameters.typical_p
    seed = (secrets.randbits(64) if parameters.seed is None else parameters.seed) if draws else None
    return Job(
        prompt_ids=prompt_ids,
        sampling=Sampling(
            max_new_tokens=max_new_tokens,
            temperature=temperature if draws else 0.0,
            top_k=parameters.top_k,
            top_p=parameters.top_p,
            typical_p=parameters.typical_p,
            repetition_penalty=parameters.repetition_penalty,
            frequency_penalty=parameters.frequency_penalty,
            presence_penalty=parameters.presence_penalty,
            min_p=parameters.min_p,
            seed=seed,
        ),
        # An empty string would end every response at once, at TGI as here: it stands at the end of any text.
        stop=tuple(parameters.stop),
        seed=seed,
        likelihood=stream or parameters.details or parameters.decoder_input_details or best_of > 1,
        top_tokens=top_tokens,
        prompt_likelihood=parameters.decoder_input_details,
        stream=stream,
    )


def _any_given(parameters: Parameters) -> bool:
    given = (parameters.temperature, parameters.top_k, parameters.top_p, parameters.typical_p)
    return any(value is not None for value in given)


def _check_lengths(prompt_ids: list[int], max_new_tokens: int | None, limits: Limits) -> int:
    length = len(prompt_ids)
    if max_new_tokens is None:
        max_new_tokens = max(limits.max_total_tokens - length, 0)
    if length + max_new_tokens > limits.max_total_tokens:
        raise ValidationError(
            f"`inputs` tokens + `max_new_tokens` must be <= {limits.max_total_tokens}. "
            f"Given: {length} `inputs` tokens and {max_new_tokens} `max_new_tokens`"
        )
    if length > limits.max_input_tokens:
        raise ValidationError(f"`inputs` must have less than {limits.max_input_tokens} tokens. Given: {length}")
    if not length:
        raise ValidationError("`inputs` has no token")
    return max_new_tokens


def _check_unsupported(parameters: Parameters) -> None:
    if parameters.grammar is not None:
        raise ValidationError("grammar is not supported")
    if parameters.watermark:
        raise ValidationError("`watermark` is not supported")
    if parameters.adapter_id is not None:
        raise ValidationError("`adapter_id` is not supported")


def check_best_of(best_of: int, limits: Limits) -> None:
    """Checks the number of sequences to choose from."""
    if best_of > limits.max_best_of:
        raise ValidationError(f"`best_of` must be > 0 and <= {limits.max_best_of}. Given: {best_of}")
