"""What each kind of endpoint is asked, and how its answer reads. Pure functions of requests and answers."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..chat import Message
from ..encoding import cut
from .transport import Faulty


TGI, COMPLETIONS, CHAT = "tgi", "openai_completions", "openai_chat"
OPENED_THOUGHT = "<think>"
TGI_STOPS = 4  # more are refused; the rest is cut on receipt alone

# Settings that these servers would otherwise take from the model's generation_config.json or from their own defaults,
# and that would narrow the distribution in silence.
NEUTRAL = {
    "vllm": {"top_p": 1.0, "top_k": -1, "min_p": 0.0, "repetition_penalty": 1.0},
    "sglang": {"top_p": 1.0, "top_k": -1, "min_p": 0.0, "repetition_penalty": 1.0},
    "llama.cpp": {"top_p": 1.0, "top_k": 0, "min_p": 0.0, "repeat_penalty": 1.0},
    "tgi": {},
}


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
    """A response, cut at its first stop text. Thoughts that a server gives apart from the text are left out; where it
    gives nothing else, the text is `OPENED_THOUGHT`, so that it has no answer for that reason.
    """

    text: str
    finish_reason: str
    prompt_tokens: int | None
    completion_tokens: int | None


@dataclass(frozen=True)
class Protocol:
    """How one endpoint is spoken to.

    Attributes:
        kind (`str`): `"tgi"`, `"openai_completions"` or `"openai_chat"`.
        engine (`str`): `"tgi"`, `"vllm"`, `"sglang"`, `"llama.cpp"`, `"transformers serve"` or `"openai"`.
        model (`str`): the model's name at the endpoint.
        details (`bool`): ask TGI for its list of tokens; needed where a proxy drops the headers that count them.
        greedy_top_k (`bool`): send `top_k: 1` at temperature 0, for TGI's back ends that never read `do_sample`.
    """

    kind: str
    engine: str
    model: str
    details: bool = True
    greedy_top_k: bool = False

    @property
    def route(self) -> str:
        """Where requests are posted."""
        return {TGI: "/generate", COMPLETIONS: "/v1/completions", CHAT: "/v1/chat/completions"}[self.kind]

    def body(
        self, prompt: str | list[Message], temperature: float, seed: int | None, decoding: Decoding
    ) -> dict[str, Any]:
        """The JSON body of a request."""
        if self.kind == TGI:
            return {"inputs": prompt, "parameters": self._tgi_parameters(temperature, seed, decoding)}
        body: dict[str, Any] = {"model": self.model, "max_tokens": decoding.max_new_tokens}
        if self.kind == CHAT:
            body["messages"] = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt
        else:
            body["prompt"] = prompt
        body["temperature"] = temperature
        if decoding.stop:
            body["stop"] = list(decoding.stop[:TGI_STOPS])
        if temperature > 0:
            body.update(NEUTRAL.get(self.engine, {"top_p": 1.0}))
            body.update(_given(top_p=decoding.top_p, top_k=decoding.top_k, seed=seed))
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
            read = self._read_tgi(content, headers, decoding) if self.kind == TGI else self._read_openai(content)
        except (KeyError, IndexError, TypeError, ValueError) as error:
            raise Faulty(f"answered JSON of another shape: no {error}: {str(content)[:200]}") from error
        text, reason, prompt_tokens, completion_tokens = read
        if not isinstance(text, str):
            raise Faulty(f"answered {type(text).__name__} instead of text")
        before = cut(text, decoding.stop)
        return Completion(before, reason if before == text else "stop_sequence", prompt_tokens, completion_tokens)

    def _read_tgi(
        self, content: dict[str, Any], headers: Mapping[str, str], decoding: Decoding
    ) -> tuple[str, str, int | None, int]:
        text = content["generated_text"]
        prompt_tokens = int(headers["x-prompt-tokens"]) if "x-prompt-tokens" in headers else None
        if self.details:
            details = content["details"]
            return text, details["finish_reason"], prompt_tokens, details["generated_tokens"]
        generated = int(headers["x-generated-tokens"])
        # TGI looks at the length first, then at the end token, then at stop texts (which `cut` finds).
        return text, "length" if generated >= decoding.max_new_tokens else "eos_token", prompt_tokens, generated

    def _read_openai(self, content: dict[str, Any]) -> tuple[str, str, int | None, int | None]:
        choice = content["choices"][0]
        text = _said(choice["message"]) if self.kind == CHAT else choice["text"]
        if text is None:  # what some servers send for a response without any token
            text = ""
        reason = choice["finish_reason"]
        if reason == "stop" and self.engine == "vllm":
            reason = "stop_sequence" if isinstance(choice.get("stop_reason"), str) else "eos_token"
        usage = content.get("usage") or {}
        return text, reason, usage.get("prompt_tokens"), usage.get("completion_tokens")


def _said(message: dict[str, Any]) -> Any:
    """The content of a message, beside which vLLM, SGLang and others keep a thought of its own."""
    text = message["content"]
    thought = message.get("reasoning_content") or message.get("reasoning")
    return OPENED_THOUGHT if thought and (text is None or text == "") else text


def _given(**values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}
