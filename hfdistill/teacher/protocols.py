"""What each kind of endpoint is asked, and how its answer reads. Pure functions of requests and answers."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..chat import Message
from ..encoding import cut
from .plan import LARGEST_SEED
from .transport import Faulty


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
    """

    text: str
    finish_reason: str
    prompt_tokens: int | None
    completion_tokens: int | None
    thought: str | None = None
    model: str | None = None
    fallback: bool = False
    fingerprint: str | None = None


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
        except (KeyError, IndexError, TypeError, ValueError) as error:
            raise Faulty(f"answered JSON of another shape: no {error}: {str(content)[:200]}") from error

    def _read_tgi(self, content: dict[str, Any], headers: Mapping[str, str], decoding: Decoding) -> Completion:
        text = content["generated_text"]
        prompt_tokens = int(headers["x-prompt-tokens"]) if "x-prompt-tokens" in headers else None
        if self.details:
            details = content["details"]
            return _cut(text, details["finish_reason"], decoding, prompt_tokens, details["generated_tokens"])
        generated = int(headers["x-generated-tokens"])
        # TGI looks at the length first, then at the end token, then at stop texts (which `cut` finds).
        reason = "length" if generated >= decoding.max_new_tokens else "eos_token"
        return _cut(text, reason, decoding, prompt_tokens, generated)

    def _read_openai(self, content: dict[str, Any], headers: Mapping[str, str], decoding: Decoding) -> Completion:
        choice = content["choices"][0]
        text, thought = _said(choice["message"]) if self.kind == CHAT else (choice["text"], None)
        reason = choice["finish_reason"]
        if reason == "stop" and self.engine == "vllm":
            reason = "stop_sequence" if isinstance(choice.get("stop_reason"), str) else "eos_token"
        usage = content.get("usage") or {}
        return _cut(
            "" if text is None else text,  # what some servers send for a response without any token
            reason,
            decoding,
            usage.get("prompt_tokens"),
            usage.get("completion_tokens"),
            thought,
            content.get("model") or None,
            any(headers.get(name, "0") != "0" for name in FALLBACKS),
            content.get("system_fingerprint") or None,
        )


def _cut(text: Any, reason: str, decoding: Decoding, *told: Any) -> Completion:
    if not isinstance(text, str):
        raise Faulty(f"answered {type(text).__name__} instead of text")
    before = cut(text, decoding.stop)
    return Completion(before, reason if before == text else "stop_sequence", *told)


def _said(message: dict[str, Any]) -> tuple[Any, str | None]:
    """The content of a message, and the thought that vLLM, SGLang and others keep beside it."""
    text = message.get("content")
    thought = message.get("reasoning_content") or message.get("reasoning")
    if not isinstance(thought, str):
        return text, None
    return text or OPENED_THOUGHT, thought


def _given(**values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}
