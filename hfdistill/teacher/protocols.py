"""What each kind of endpoint is asked, and how its answer reads. Pure functions of requests and answers."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..chat import Message
from ..encoding import cut
from .plan import LARGEST_SEED
from .transport import Faulty, redacted


TGI, COMPLETIONS, CHAT = "tgi", "openai_completions", "openai_chat"
OPENED_THOUGHT = "<think>"
TGI_STOPS = 4  # more are refused; the rest is cut on receipt alone

LENGTHS = ("max_tokens", "max_completion_tokens")
# What turns `top_k` off: nearly everywhere -1, in llama.cpp's family and at OpenRouter 0.
TOP_K_OFF = (-1, 0)

# Settings that servers would otherwise take from the model's generation_config.json or from their own defaults. They
# narrow the distribution in silence, and the penalties change what is greedy, too.
_NEUTRAL = {"top_p": 1.0, "top_k": -1, "min_p": 0.0, "frequency_penalty": 0.0, "presence_penalty": 0.0}
NEUTRAL: dict[str, dict[str, float]] = {
    "tgi": {},  # its defaults are neutral, and top_p 1 is refused
    "vllm": {**_NEUTRAL, "repetition_penalty": 1.0},
    "sglang": {**_NEUTRAL, "repetition_penalty": 1.0},
    "llama.cpp": {**_NEUTRAL, "top_k": 0, "repeat_penalty": 1.0},
}
OF_ANY_ENGINE = {**_NEUTRAL, "repetition_penalty": 1.0, "repeat_penalty": 1.0}
# Headers of gateways that tell of answers by somebody else than was asked: how many fallbacks were tried.
FALLBACKS = ("x-litellm-attempted-fallbacks", "cf-aig-step")


@dataclass(frozen=True)
class Accepted:
    """What an OpenAI-style endpoint takes beside prompt and temperature, see [`hfdistill.teacher.probing`].

    Attributes:
        neutral (`dict[str, float]`): settings that keep to the model's own distribution.
        length (`str`): name of the field for the longest response.
        largest_seed (`int`): 0 where it takes no seed.
        stop (`bool`): whether it takes stop texts; they are cut on receipt anyway.
    """

    neutral: dict[str, float]
    length: str = LENGTHS[0]
    largest_seed: int = LARGEST_SEED
    stop: bool = True


_UNTRIED = {engine: Accepted(neutral) for engine, neutral in NEUTRAL.items()}
_OF_ANY_ENGINE = Accepted(OF_ANY_ENGINE)


@dataclass(frozen=True)
class Decoding:
    """How all requests of a run are decoded, apart from temperature and seed.

    Attributes:
        max_new_tokens (`int`): longest response.
        stop (`tuple[str, ...]`): texts that end a response; they are not part of it.
        top_p (`float`, *optional*), top_k (`int`, *optional*): narrow the distribution; not at all by default.
    """

    max_new_tokens: int
    stop: tuple[str, ...] = ()
    top_p: float | None = None
    top_k: int | None = None


@dataclass(frozen=True, slots=True)
class Completion:
    """A response, cut at its first stop text.

    Attributes:
        text (`str`): what was said; `OPENED_THOUGHT` where there is a thought and nothing else, so that it has no
            answer for that reason.
        finish_reason (`str`), prompt_tokens (`int`, *optional*), completion_tokens (`int`, *optional*): as told.
        thought (`str`, *optional*): what the server gives apart from the text.
        model (`str`, *optional*): who answered, as told.
        fallback (`bool`): whether a gateway tells that it asked somebody else.
        fingerprint (`str`, *optional*): of the system that answered, as told.
        counted_by (`str`, *optional*): what counted the tokens, where the server did not.
    """

    text: str
    finish_reason: str
    prompt_tokens: int | None
    completion_tokens: int | None
    thought: str | None = None
    model: str | None = None
    fallback: bool = False
    fingerprint: str | None = None
    counted_by: str | None = None


@dataclass(frozen=True)
class Protocol:
    """How one endpoint is spoken to.

    Attributes:
        kind (`str`): `"tgi"`, `"openai_completions"` or `"openai_chat"`.
        engine (`str`): `"tgi"`, `"vllm"`, `"sglang"`, `"llama.cpp"`, `"transformers serve"` or `"openai"`.
        model (`str`): the model's name at the endpoint.
        details (`bool`): ask TGI for its list of tokens; needed where a proxy drops the headers that count them.
        greedy_top_k (`bool`): send `top_k: 1` at temperature 0, for TGI's back ends that never read `do_sample`.
        accepted ([`Accepted`], *optional*): what it takes; by default what its engine is known to take.
        extra_body (`dict`): fields of the user's own, in every request.
    """

    kind: str
    engine: str
    model: str
    details: bool = True
    greedy_top_k: bool = False
    accepted: Accepted | None = None
    extra_body: dict[str, Any] = field(default_factory=dict)

    @property
    def takes(self) -> Accepted:
        """What it takes, as far as that is known."""
        return self.accepted or _UNTRIED.get(self.engine, _OF_ANY_ENGINE)

    def seed(self, seed: int | None) -> int | None:
        """The seed that is sent for a planned one: it fits into what the endpoint takes."""
        largest = self.takes.largest_seed if self.kind != TGI else LARGEST_SEED
        return None if seed is None or not largest else 1 + (seed - 1) % largest

    @property
    def route(self) -> str:
        """Where requests are posted."""
        return {TGI: "/generate", COMPLETIONS: "/v1/completions", CHAT: "/v1/chat/completions"}[self.kind]

    def body(
        self, prompt: str | list[Message], temperature: float, seed: int | None, decoding: Decoding
    ) -> dict[str, Any]:
        """The JSON body of a request."""
        if self.kind == TGI:
            parameters = self._tgi_parameters(temperature, seed, decoding)
            return {"inputs": prompt, "parameters": {**parameters, **self.extra_body}}
        takes = self.takes
        body: dict[str, Any] = {"model": self.model, takes.length: decoding.max_new_tokens}
        if self.kind == CHAT:
            body["messages"] = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt
        else:
            body["prompt"] = prompt
        body["temperature"] = temperature
        if decoding.stop and takes.stop:
            body["stop"] = list(decoding.stop[:TGI_STOPS])
        body.update(takes.neutral)
        if temperature > 0:
            body.update(_given(top_p=decoding.top_p, top_k=decoding.top_k, seed=self.seed(seed)))
        body.update(self.extra_body)
        return body

    def _tgi_parameters(self, temperature: float, seed: int | None, decoding: Decoding) -> dict[str, Any]:
        parameters: dict[str, Any] = {"max_new_tokens": decoding.max_new_tokens, "details": self.details}
        if decoding.stop:
            parameters["stop"] = list(decoding.stop[:TGI_STOPS])
        if temperature == 0:
            # TGI refuses temperature 0, and any of temperature, top_k and top_p would turn sampling on.
            parameters["do_sample"] = False
            if self.greedy_top_k:
                parameters["top_k"] = 1
            return parameters
        # Without do_sample, temperature 1.0 is greedy.
        parameters.update(do_sample=True, temperature=temperature)
        parameters.update(_given(top_p=decoding.top_p, top_k=decoding.top_k, seed=seed))
        return parameters

    def read(self, content: dict[str, Any], headers: Mapping[str, str], decoding: Decoding) -> Completion:
        """Read an answer.

        Raises:
            [`~hfdistill.teacher.transport.Faulty`]: if it is not what this kind of endpoint answers.
        """
        try:
            if self.kind == TGI:
                return self._read_tgi(content, headers, decoding)
            return self._read_openai(content, headers, decoding)
        except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
            raise Faulty(f"answered JSON of another shape: {redacted(str(content))[:200]}") from error

    def _read_tgi(self, content: dict[str, Any], headers: Mapping[str, str], decoding: Decoding) -> Completion:
        text = content["generated_text"]
        prompt_tokens = _count(headers.get("x-prompt-tokens"))
        if self.details:
            details = content["details"]
            return _cut(text, details["finish_reason"], decoding, prompt_tokens, _count(details["generated_tokens"]))
        generated = int(headers["x-generated-tokens"])
        # TGI looks at the length first, then at the end token, then at stop texts (which `cut` finds).
        reason = "length" if generated >= decoding.max_new_tokens else "eos_token"
        return _cut(text, reason, decoding, prompt_tokens, generated)

    def _read_openai(self, content: dict[str, Any], headers: Mapping[str, str], decoding: Decoding) -> Completion:
        choice = content["choices"][0]
        text, thought = _said(choice["message"]) if self.kind == CHAT else (choice["text"], None)
        usage = content.get("usage")
        told = usage if isinstance(usage, dict) else {}
        prompt_tokens, generated = (_count(told.get(f"{part}_tokens")) for part in ("prompt", "completion"))
        reason = choice.get("finish_reason")
        if not isinstance(reason, str):  # some leave it out
            reason = "length" if generated is not None and generated >= decoding.max_new_tokens else "stop"
        if reason == "stop" and self.engine == "vllm":
            reason = "stop_sequence" if isinstance(choice.get("stop_reason"), str) else "eos_token"
        return _cut(
            "" if text is None else text,  # what some servers send for a response without any token
            reason,
            decoding,
            prompt_tokens,
            generated,
            thought,
            _name(content.get("model")),
            any(headers.get(name, "0") != "0" for name in FALLBACKS),
            _name(content.get("system_fingerprint")),
        )


def _count(told: Any) -> int | None:
    """A number of tokens; some servers write it as text or with a fraction. `None` of what is none."""
    if isinstance(told, str) and told.isdecimal():
        told = int(told)
    if isinstance(told, bool) or not isinstance(told, int | float) or not 0 <= told <= LARGEST_SEED:
        return None
    return math.ceil(told)


def _name(told: Any) -> str | None:
    return told if isinstance(told, str) and told else None


def _cut(text: Any, reason: Any, decoding: Decoding, *told: Any) -> Completion:
    if not isinstance(text, str) or not isinstance(reason, str):
        wrong = "text" if not isinstance(text, str) else "a reason to finish"
        raise Faulty(f"answered {type(text if wrong == 'text' else reason).__name__} instead of {wrong}")
    before = cut(text, decoding.stop)
    return Completion(before, reason if before == text else "stop_sequence", *told)


def _said(message: dict[str, Any]) -> tuple[Any, str | None]:
    """The content of a message, and the thought that vLLM, SGLang and others keep beside it."""
    text = message.get("content")
    thought = message.get("reasoning_content") or message.get("reasoning")
    if isinstance(text, list):  # Mistral's thinking models answer in parts
        thoughts = [_joined(part["thinking"]) for part in text if part["type"] == "thinking"]
        text, thought = _joined(text), thought or "".join(thoughts)
    if not isinstance(thought, str) or not thought:
        return text, None
    return text or OPENED_THOUGHT, thought


def _joined(parts: str | list[dict[str, Any]]) -> str:
    """The text of a content, which may be in parts."""
    return parts if isinstance(parts, str) else "".join(part["text"] for part in parts if part["type"] == "text")


def _given(**values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}
