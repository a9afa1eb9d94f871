"""JSON bodies as typed values, checked before anything else looks at them."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import orjson

from .errors import MalformedError


_SHOWN = 40


def parse(content_type: str | None, body: bytes) -> dict[str, Any]:
    """The object in a request's body.

    Raises:
        `MalformedError`: 415 for another content type, 400 for no JSON, 422 for JSON that is no object.
    """
    if content_type is None or not content_type.partition(";")[0].strip().lower().endswith(("/json", "+json")):
        raise MalformedError(415, "Expected request with `Content-Type: application/json`")
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise MalformedError(400, f"Failed to parse the request body as JSON: {error}") from error
    if not isinstance(value, dict):
        raise _mismatch("", value, "an object")
    return value


def _mismatch(path: str, value: Any, expected: str) -> MalformedError:
    shown = orjson.dumps(value).decode()[:_SHOWN]
    where = f"{path}: " if path else ""
    return MalformedError(
        422,
        f"Failed to deserialize the JSON body into the target type: {where}invalid type: {shown}, expected {expected}",
    )


Check = Callable[[Any], bool]


def _whole(least: int, most: int) -> Check:
    return lambda value: type(value) is int and least <= value <= most


def _number(value: Any) -> bool:
    return type(value) in (int, float)


def _texts(value: Any) -> bool:
    return type(value) is list and all(type(item) is str for item in value)


_U32 = (_whole(0, 2**32 - 1), "u32")
_U64 = (_whole(0, 2**64 - 1), "u64")
_I32 = (_whole(-(2**31), 2**31 - 1), "i32")
_F32 = (_number, "f32")
_BOOL = (lambda value: type(value) is bool, "a boolean")
_TEXT = (lambda value: type(value) is str, "a string")
_TEXTS = (_texts, "a list of strings")
_LIST = (lambda value: type(value) is list, "a list")
_OBJECT = (lambda value: type(value) is dict, "a map")
_ANY = (lambda value: True, "a value")


def _one_or_many(value: Any) -> bool:
    return type(value) is str or _texts(value)


def _tokens(value: Any) -> bool:
    return type(value) is list and bool(value) and all(type(item) is int for item in value)


def _prompt(value: Any) -> bool:
    many = type(value) is list and all(type(item) is str or _tokens(item) for item in value)
    return type(value) is str or _tokens(value) or many


# name: (check, what is expected, whether null stands for "not given")
_PARAMETERS = {
    "best_of": (*_U64, True),
    "temperature": (*_F32, True),
    "repetition_penalty": (*_F32, True),
    "frequency_penalty": (*_F32, True),
    "top_k": (*_I32, True),
    "top_p": (*_F32, True),
    "typical_p": (*_F32, True),
    "do_sample": (*_BOOL, False),
    "max_new_tokens": (*_U32, True),
    "return_full_text": (*_BOOL, True),
    "stop": (*_TEXTS, False),
    "truncate": (*_U64, True),
    "watermark": (*_BOOL, False),
    "details": (*_BOOL, False),
    "decoder_input_details": (*_BOOL, False),
    "seed": (*_U64, True),
    "top_n_tokens": (*_U32, True),
    "grammar": (*_OBJECT, True),
    "adapter_id": (*_TEXT, True),
}
_GENERATE = {
    "inputs": (*_TEXT, False),
    "parameters": (*_OBJECT, False),
    "stream": (*_BOOL, False),
    "add_special_tokens": (*_BOOL, False),
}
_OPENAI = {
    "model": (*_TEXT, True),
    "frequency_penalty": (*_F32, True),
    "max_tokens": (*_U32, True),
    "max_completion_tokens": (*_U32, True),
    "min_p": (*_F32, True),
    "presence_penalty": (*_F32, True),
    "repetition_penalty": (*_F32, True),
    "stop": (_one_or_many, "a string or a list of strings", True),
    "n": (*_U32, True),
    "stream": (*_BOOL, False),
    "stream_options": (*_OBJECT, True),
    "seed": (*_U64, True),
    "temperature": (*_F32, True),
    "top_k": (*_I32, True),
    "top_p": (*_F32, True),
}
_CHAT = {
    **_OPENAI,
    "messages": (*_LIST, False),
    "logprobs": (*_BOOL, True),
    "top_logprobs": (*_U32, True),
    "tools": (*_LIST, True),
    "tool_choice": (*_ANY, True),
    "response_format": (*_OBJECT, True),
}
_COMPLETION = {
    **_OPENAI,
    "prompt": (_prompt, "a string, a list of strings, or tokens", False),
    "echo": (*_BOOL, True),
    "logprobs": (*_U32, True),
    "suffix": (*_TEXT, True),
}


def _known(value: dict[str, Any], fields: dict, path: str = "") -> dict[str, Any]:
    """The fields that were given; others are ignored, as TGI ignores them."""
    given = {}
    for name, item in value.items():
        if name not in fields:
            continue
        check, expected, nullable = fields[name]
        if item is None and nullable:
            continue
        if not check(item):
            raise _mismatch(f"{path}{name}", item, expected)
        given[name] = item
    return given


def _required(given: dict[str, Any], name: str) -> None:
    if name not in given:
        raise MalformedError(422, f"Failed to deserialize the JSON body into the target type: missing field `{name}`")


@dataclass(slots=True)
class Parameters:
    """The parameters of `/generate`, and those of `/v1` besides. Not to be given at all means to sample; an empty
    object means not to.
    """

    best_of: int | None = None
    temperature: float | None = None
    repetition_penalty: float | None = None
    frequency_penalty: float | None = None
    top_k: int | None = None
    top_p: float | None = None
    typical_p: float | None = None
    do_sample: bool = False
    max_new_tokens: int | None = None
    return_full_text: bool | None = None
    stop: list[str] = field(default_factory=list)
    truncate: int | None = None
    watermark: bool = False
    details: bool = False
    decoder_input_details: bool = False
    seed: int | None = None
    top_n_tokens: int | None = None
    grammar: dict | None = None
    adapter_id: str | None = None
    presence_penalty: float | None = None
    min_p: float | None = None


@dataclass(slots=True)
class GenerateRequest:
    """What is to be continued, and how."""

    inputs: str
    parameters: Parameters
    stream: bool = False
    add_special_tokens: bool = True


def generate_request(value: dict[str, Any]) -> GenerateRequest:
    """The body of `/generate` and its kin."""
    given = _known(value, _GENERATE)
    _required(given, "inputs")
    if "parameters" in given:
        given["parameters"] = Parameters(**_known(given["parameters"], _PARAMETERS, "parameters."))
    else:
        given["parameters"] = Parameters(do_sample=True)
    return GenerateRequest(**given)


def _openai_parameters(given: dict[str, Any]) -> Parameters:
    """Temperature 0 is greedy; anything else, and nothing, samples. What OpenAI's clients send for "not at all", top_p
    1 and vLLM's top_k -1 and min_p 0, is that.
    """
    greedy = given.get("temperature") == 0
    top_k, top_p, stop = given.get("top_k"), given.get("top_p"), given.get("stop", [])
    return Parameters(
        do_sample=not greedy,
        temperature=None if greedy else given.get("temperature"),
        top_k=None if top_k in (0, -1) else top_k,
        top_p=None if top_p == 1 else top_p,
        min_p=given.get("min_p") or None,
        frequency_penalty=given.get("frequency_penalty"),
        presence_penalty=given.get("presence_penalty"),
        repetition_penalty=given.get("repetition_penalty"),
        max_new_tokens=given.get("max_completion_tokens", given.get("max_tokens")),
        stop=[stop] if isinstance(stop, str) else stop,
        seed=given.get("seed"),
    )


@dataclass(slots=True)
class ChatRequest:
    """The body of `/v1/chat/completions`."""

    messages: list[Any]
    parameters: Parameters
    n: int = 1
    stream: bool = False
    include_usage: bool = False
    logprobs: bool = False
    wants_tools: bool = False
    wants_format: bool = False


def chat_request(value: dict[str, Any]) -> ChatRequest:
    """The body of `/v1/chat/completions` and `/chat_tokenize`."""
    given = _known(value, _CHAT)
    _required(given, "messages")
    parameters = _openai_parameters(given)
    parameters.details = given.get("logprobs", False)
    parameters.top_n_tokens = given.get("top_logprobs") if parameters.details else None
    return ChatRequest(
        messages=given["messages"],
        parameters=parameters,
        n=given.get("n", 1),
        stream=given.get("stream", False),
        include_usage=bool(given.get("stream_options", {}).get("include_usage")),
        logprobs=parameters.details,
        wants_tools=bool(given.get("tools")) and given.get("tool_choice") != "none",
        wants_format="response_format" in given and given["response_format"].get("type") != "text",
    )


@dataclass(slots=True)
class CompletionRequest:
    """The body of `/v1/completions`; a prompt is a text, or its tokens. `drawn` says whether any token is wanted."""

    prompts: list[str | list[int]]
    parameters: Parameters
    n: int = 1
    echo: bool = False
    logprobs: bool = False
    drawn: bool = True
    stream: bool = False
    include_usage: bool = False
    suffix: str | None = None


def completion_request(value: dict[str, Any]) -> CompletionRequest:
    """The body of `/v1/completions`; one seed serves all prompts."""
    given = _known(value, _COMPLETION)
    _required(given, "prompt")
    prompt = given["prompt"]
    parameters = _openai_parameters(given)
    echo, logprobs = given.get("echo", False), "logprobs" in given
    parameters.details, parameters.top_n_tokens = logprobs, given.get("logprobs")
    parameters.decoder_input_details = echo and logprobs
    drawn = parameters.max_new_tokens != 0 or not echo
    if not drawn:
        parameters.max_new_tokens = 1
    return CompletionRequest(
        prompts=[prompt] if isinstance(prompt, str) or _tokens(prompt) else prompt,
        parameters=parameters,
        n=given.get("n", 1),
        echo=echo,
        logprobs=logprobs,
        drawn=drawn,
        stream=given.get("stream", False),
        include_usage=bool(given.get("stream_options", {}).get("include_usage")),
        suffix=given.get("suffix"),
    )
