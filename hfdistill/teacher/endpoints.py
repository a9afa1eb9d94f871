"""Endpoints: which server answers at a URL, with which model, and whether it can do what the grid needs."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from ..chat import Message
from ..errors import HFDistillError, unknown
from ..sections import TeacherConfig
from .protocols import CHAT, COMPLETIONS, TGI, Completion, Decoding, Protocol
from .transport import Busy, Faulty, Gone, Rejected, Transport, Trouble, authorization, base_url


KINDS = ("auto", TGI, COMPLETIONS, CHAT)
ENGINES = {"vllm": "vllm", "sglang": "sglang", "llamacpp": "llama.cpp"}  # by `owned_by` in /v1/models
TRANSFORMERS_SERVE = "transformers serve"
VERSIONS = {
    "vllm": ("/version", "version"),
    "sglang": ("/server_info", "version"),
    "llama.cpp": ("/props", "build_info"),
}
BYTES_PER_TOKEN = 1024  # of an answer, with TGI's details of each token; more is no answer to this request

T = TypeVar("T")


@dataclass(frozen=True)
class Identity:
    """Who answers at a URL.

    Attributes:
        protocol ([`Protocol`]): how it is spoken to.
        model_id (`str`): the model's name, as the server says.
        model_sha (`str`, *optional*): its commit, where the server says.
        version (`str`): of the engine; empty where the server does not say.
        limit (`int`, *optional*): requests that it takes at once.
        longest (`int`, *optional*): tokens of prompt and response together.
    """

    protocol: Protocol
    model_id: str
    model_sha: str | None = None
    version: str = ""
    limit: int | None = None
    longest: int | None = None

    @property
    def engine(self) -> str:
        """Engine and version, as kept with every response."""
        return f"{self.protocol.engine} {self.version}".strip()

    @property
    def named(self) -> str:
        """The model's name, with its commit where that is known."""
        return f"{self.model_id} at {self.model_sha[:12]}" if self.model_sha else self.model_id

    def is_one_of(self, models: Sequence[str]) -> bool:
        """Whether it is among these, by its name alone or with its commit."""
        return self.model_id in models or self.named in models

    def fingerprint(self) -> dict[str, str | None]:
        """What must not change between the responses of one run."""
        return {
            "model_id": self.model_id,
            "model_sha": self.model_sha,
            "engine": self.protocol.engine,
            "endpoint_kind": self.protocol.kind,
        }


class Endpoint:
    """One URL that completes prompts.

    Args:
        url (`str`): base URL; a route at its end is dropped.
        decoding ([`~hfdistill.teacher.protocols.Decoding`]): of all its requests.
        model (`str`, *optional*): which model to ask for, where a server has several.
        kind (`str`, *optional*, defaults to `"auto"`): one of [`KINDS`].
        chat (`bool`, *optional*, defaults to `False`): let the server render prompts by its chat template.
        api_key_env (`str`, *optional*): environment variable with its token.
        timeout (`float`, *optional*, defaults to 600): seconds that one request may take.
        extra_body (`dict`, *optional*): further fields of every request; of `/generate`'s `parameters`.
        accept_models (`Sequence[str]`, *optional*): other models that may answer.

    Attributes:
        identity ([`Identity`], *optional*): who answers, once that is known.
        answers_as (`str`, *optional*): the name that its answers give to who answers.
    """

    def __init__(
        self,
        url: str,
        decoding: Decoding,
        model: str | None = None,
        kind: str = "auto",
        chat: bool = False,
        api_key_env: str | None = None,
        timeout: float = 600.0,
        extra_body: dict[str, Any] | None = None,
        accept_models: Sequence[str] = (),
    ):
        if kind not in KINDS:
            raise unknown("teacher.kind", kind, KINDS)
        if kind == TGI and chat:
            raise HFDistillError("teacher.kind is 'tgi' and teacher.chat is true: leave one of them out")
        self.url, self.decoding, self.model = base_url(url), decoding, model
        self._kind, self._extra_body = CHAT if chat else kind, extra_body or {}
        self.transport = Transport(
            self.url,
            authorization(self.url, api_key_env),
            timeout,
            largest=(64 << 10) + decoding.max_new_tokens * BYTES_PER_TOKEN,
        )
        self.accept_models = tuple(accept_models)
        self.identity: Identity | None = None
        self.answers_as: str | None = None

    async def close(self) -> None:
        """Close its connections."""
        await self.transport.close()

    async def identify(self) -> Identity:
        """Ask the server who it is; `identity` is left as it was.

        Raises:
            [`~hfdistill.teacher.transport.Trouble`]: if it cannot be asked.
            [`~hfdistill.errors.HFDistillError`]: if it answers, but not as a server of a known kind.
        """
        if self._kind in ("auto", TGI, CHAT):
            info = await self._found("/info")
            if info and isinstance(info.get("model_id"), str) and "max_total_tokens" in info:
                return self._as_tgi(info)
            if self._kind == TGI:
                raise HFDistillError(f"{self.url} has no /info as TGI has: leave teacher.kind out, or set another")
        return await self._as_openai()

    async def _found(self, route: str) -> dict[str, Any] | None:
        """What a route answers; `None` of another kind of server, or of a page for people."""
        try:
            return (await self.transport.get(route)).content
        except Trouble as trouble:
            # Gateways refuse a route that they do not know in many ways; a wrong token is met again at the next one.
            elsewhere = route == "/info" and self._kind != TGI and isinstance(trouble, Rejected | Gone)
            if trouble.status in (200, 404, 405) or (elsewhere and trouble.status):
                return None
            raise

    def _as_tgi(self, info: dict[str, Any]) -> Identity:
        label = str(info.get("docker_label") or "")
        known = self.identity.protocol if self.identity else None
        protocol = Protocol(
            CHAT if self._kind == CHAT else TGI,
            "tgi",
            info["model_id"],
            details=known.details if known else True,
            greedy_top_k="llamacpp" in label or "trtllm" in label,
            extra_body=self._extra_body,
        )
        return Identity(
            protocol,
            info["model_id"],
            info.get("model_sha"),
            str(info.get("version") or ""),
            info.get("max_concurrent_requests"),
            info.get("max_total_tokens"),
        )

    async def _as_openai(self) -> Identity:
        kind = CHAT if self._kind == CHAT else COMPLETIONS
        if self.model and await self._is_transformers_serve():
            return Identity(self._protocol(kind, TRANSFORMERS_SERVE, self.model), self.model)
        listed = await self._found("/v1/models")
        if listed is None:
            raise HFDistillError(
                f"{self.url} has neither /info nor /v1/models: it is no TGI and no OpenAI-style server"
            )
        entries = listed.get("data") or []
        models = {entry["id"]: entry for entry in entries if isinstance(entry, dict) and "id" in entry}
        if not models and self.model:  # a server that loads what it is asked for, and lists what it has downloaded
            models = {self.model: {"id": self.model}}
        if self.model not in models and len(models) != 1:
            names = ", ".join(sorted(models)[:10]) or "none"
            missing = f"not {self.model!r}" if self.model else "and none of them was chosen"
            raise HFDistillError(
                f"{self.url} serves these models, {missing}: {names}. Name one in teacher.served_model"
            )
        entry = models[self.model] if self.model in models else next(iter(models.values()))
        engine = ENGINES.get(entry.get("owned_by"), "openai")
        told = await self._told(engine)
        slots = told.get("total_slots")  # llama.cpp's: what is beyond them waits there
        return Identity(
            self._protocol(kind, engine, entry["id"]),
            entry["id"],
            version=str(told.get(VERSIONS[engine][1]) or "") if engine in VERSIONS else "",
            limit=slots if isinstance(slots, int) and slots > 0 else None,
            longest=entry.get("max_model_len"),
        )

    def _protocol(self, kind: str, engine: str, model: str) -> Protocol:
        return Protocol(kind, engine, model, extra_body=self._extra_body)

    async def _is_transformers_serve(self) -> bool:
        """Whether this is `transformers serve`, whose /v1/models lists a cache and not what it serves.

        It tells no name; but a GET of its own route for loading a model is a 405, and a 404 elsewhere.
        """
        try:
            await self.transport.get("/load_model")
        except Trouble as trouble:
            return trouble.status == 405  # any other trouble is met again at /v1/models
        return False

    async def _told(self, engine: str) -> dict[str, Any]:
        """What an engine tells of itself where it tells its version."""
        if engine not in VERSIONS:
            return {}
        try:
            return (await self.transport.get(VERSIONS[engine][0])).content
        except Trouble:
            return {}  # some builds have no such route; the responses do not depend on it

    async def complete(
        self, prompt: str | list[Message], temperature: float, seed: int | None, decoding: Decoding | None = None
    ) -> Completion:
        """One response to a prompt; `decoding` where it is not that of the endpoint's other requests.

        Raises:
            [`~hfdistill.teacher.transport.Trouble`]: if there is none; its kind says what to do.
        """
        protocol, decoding = self.identity.protocol, decoding or self.decoding
        answer = await self.transport.post(protocol.route, protocol.body(prompt, temperature, seed, decoding))
        completion = protocol.read(answer.content, answer.headers, decoding)
        tokens = (completion.prompt_tokens or 0) + (completion.completion_tokens or 0)
        self.transport.tempo.heed(answer.headers, self.transport.posted, tokens)
        return completion

    def another(self, completion: Completion) -> str | None:
        """Who answered instead of the model that was asked, as far as the answer tells. Who answers first is taken for
        that model, where nobody looked before.
        """
        if completion.fallback:
            return completion.model or "a fallback of its gateway"
        if completion.model in self.accept_models:
            return completion.model
        self.answers_as = self.answers_as or completion.model
        return None if completion.model in (None, self.answers_as) else completion.model

    async def prepare(self) -> None:
        """Find out who answers.

        Raises:
            [`~hfdistill.teacher.transport.Trouble`]: if nobody does.
            [`~hfdistill.errors.HFDistillError`]: if it is not what this run needs.
        """
        self.identity = await self.identify()
        longest, wanted = self.identity.longest, self.decoding.max_new_tokens
        if longest is not None and wanted >= longest:
            raise HFDistillError(
                f"max_new_tokens is {wanted}, but endpoint {self.url} takes {longest} tokens of prompt and response "
                "together: lower label.max_new_tokens or start the server with a longer context"
            )

    def set_protocol(self, **changes: Any) -> None:
        """Speak otherwise from now on; see the attributes of [`~hfdistill.teacher.protocols.Protocol`]."""
        self.identity = replace(self.identity, protocol=replace(self.identity.protocol, **changes))


@asynccontextmanager
async def open_endpoints(teacher: TeacherConfig, decoding: Decoding) -> AsyncIterator[list[Endpoint]]:
    """The configuration's endpoints, closed at the end; nothing is sent yet."""
    if not teacher.endpoints:
        raise HFDistillError(
            "teacher.endpoints is empty: name the base URL of at least one TGI or OpenAI-style server"
        )
    asked = {"model": teacher.served_model or teacher.model, "extra_body": teacher.extra_body}
    asked |= {name: vars(teacher)[name] for name in ("kind", "chat", "api_key_env", "timeout", "accept_models")}
    endpoints = [Endpoint(url, decoding, **asked) for url in dict.fromkeys(teacher.endpoints)]
    try:
        yield endpoints
    finally:
        await asyncio.gather(*(endpoint.close() for endpoint in endpoints))


async def patiently(ask: Callable[[], Awaitable[T]], tries: int) -> T:
    """Ask, and ask again while the endpoint is busy or something goes wrong on the way.

    Raises:
        [`~hfdistill.teacher.transport.Trouble`]: of the last try.
    """
    pause = 0.25
    for _ in range(tries - 1):
        try:
            return await ask()
        except (Busy, Faulty):
            await asyncio.sleep(pause)
            pause = min(2 * pause, 15.0)
    return await ask()


def same_model(identities: dict[str, Identity]) -> dict[str, str | None]:
    """The fingerprint that all endpoints share.

    Raises:
        [`~hfdistill.errors.HFDistillError`]: if they serve different models, or by different engines.
    """
    (first, identity), *others = identities.items()
    wanted = identity.fingerprint()
    for url, other in others:
        for name, value in other.fingerprint().items():
            if value != wanted[name]:
                raise HFDistillError(
                    f"the endpoints differ in {name}: {first} says {wanted[name]!r}, {url} says {value!r}; "
                    "one run asks one teacher"
                )
    return wanted
