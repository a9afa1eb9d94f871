"""Endpoints: which server answers at a URL, with which model, and whether it can do what the grid needs."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from ..chat import Message
from ..errors import HFDistillError, unknown
from ..sections import TeacherConfig
from .protocols import CHAT, COMPLETIONS, TGI, Completion, Decoding, Protocol
from .transport import Busy, Faulty, Reply, Transport, Trouble, authorization, base_url


KINDS = ("auto", TGI, COMPLETIONS, CHAT)
ENGINES = {"vllm": "vllm", "sglang": "sglang", "llamacpp": "llama.cpp"}  # by `owned_by` in /v1/models
VERSIONS = {
    "vllm": ("/version", "version"),
    "sglang": ("/server_info", "version"),
    "llama.cpp": ("/props", "build_info"),
}
BEGINNINGS = ("<|begin_of_text|>", "<s>", "<bos>", "<|startoftext|>", "<｜begin▁of▁sentence｜>", "[BOS]")
PROBE_TOKENS = 64
PROBES_AT_ONCE = 8
PROBE_TRIES = 8
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
    ):
        if kind not in KINDS:
            raise unknown("teacher.kind", kind, KINDS)
        if kind == TGI and chat:
            raise HFDistillError("teacher.kind is 'tgi' and teacher.chat is true: leave one of them out")
        self.url, self.decoding, self.model = base_url(url), decoding, model
        self._kind = CHAT if chat else kind
        self.transport = Transport(
            self.url,
            authorization(self.url, api_key_env),
            timeout,
            largest=(64 << 10) + decoding.max_new_tokens * BYTES_PER_TOKEN,
        )
        self.identity: Identity | None = None

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
            if trouble.status in (200, 404, 405):
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
            return Identity(Protocol(kind, "transformers serve", self.model), self.model)
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
            raise HFDistillError(f"{self.url} serves these models, {missing}: {names}. Name one in teacher.model")
        entry = models[self.model] if self.model in models else next(iter(models.values()))
        engine = ENGINES.get(entry.get("owned_by"), "openai")
        return Identity(
            Protocol(kind, engine, entry["id"]),
            entry["id"],
            version=await self._version(engine),
            longest=entry.get("max_model_len"),
        )

    async def _is_transformers_serve(self) -> bool:
        """Whether this is `transformers serve`, whose /v1/models lists a cache and not what it serves.

        It tells no name; but a GET of its own route for loading a model is a 405, and a 404 elsewhere.
        """
        try:
            await self.transport.get("/load_model")
        except Trouble as trouble:
            return trouble.status == 405  # any other trouble is met again at /v1/models
        return False

    async def _version(self, engine: str) -> str:
        if engine not in VERSIONS:
            return ""
        route, field = VERSIONS[engine]
        try:
            return str((await self.transport.get(route)).content.get(field) or "")
        except Trouble:
            return ""  # some builds have no such route; the responses do not depend on it

    async def complete(self, prompt: str | list[Message], temperature: float, seed: int | None) -> Completion:
        """One response to a prompt.

        Raises:
            [`~hfdistill.teacher.transport.Trouble`]: if there is none; its kind says what to do.
        """
        protocol = self.identity.protocol
        answer = await self.transport.post(protocol.route, protocol.body(prompt, temperature, seed, self.decoding))
        return protocol.read(answer.content, answer.headers, self.decoding)

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

    async def probe(self, prompt: str | list[Message], at_once: int | None = None) -> None:
        """Make sure that the server decodes greedily when asked to and samples when asked to.

        A greedy server would fill the whole grid with one answer, and nothing later would notice. Two responses at
        temperature 0 are compared with sixteen at temperature 1, and, if the teacher is so sure of this prompt that
        they are all the same, with sixteen at temperature 2.

        Args:
            prompt (`str` or `list[dict]`): any prompt of the run.
            at_once (`int`, *optional*): the most requests in flight meanwhile.

        Raises:
            [`~hfdistill.errors.HFDistillError`]: if it cannot vary the temperature from request to request.
        """
        short = replace(self.decoding, max_new_tokens=min(PROBE_TOKENS, self.decoding.max_new_tokens))
        check_beginning(prompt, self.identity.protocol)
        self._slots = asyncio.Semaphore(min(filter(None, (PROBES_AT_ONCE, self.identity.limit, at_once))))
        if self.identity.protocol.kind == TGI:
            answer = await self._probed(self.identity.protocol.body(prompt, 0.0, None, short))
            if "x-generated-tokens" in answer.headers:
                self.set_details(False)
        greedy = await self._texts(prompt, 0.0, 2, short)
        if greedy[0] != greedy[1]:
            # Kernels may differ with the batch, so greedy texts may split; with six, some agree unless all are drawn.
            greedy += await self._texts(prompt, 0.0, 4, short)
            if len(set(greedy)) == len(greedy):
                raise self._unable("answers at temperature 0 were all different")
        for temperature in (1.0, 2.0):
            sampled = await self._texts(prompt, temperature, 16, short)
            if any(text not in greedy for text in sampled):
                return
        raise self._unable("answers at temperatures 1 and 2 were the same as at temperature 0")

    def _unable(self, what: str) -> HFDistillError:
        return HFDistillError(
            f"{self._named()} cannot vary the temperature from request to request: its {what}. Use TGI, vLLM, SGLang, "
            "llama.cpp or `hfdistill serve`"
        )

    def _named(self) -> str:
        return f"endpoint {self.url} ({self.identity.engine}, {self.identity.protocol.kind})"

    def set_details(self, details: bool) -> None:
        """Ask for the list of tokens with every response, or not: needless where headers say how many there are."""
        self.identity = replace(self.identity, protocol=replace(self.identity.protocol, details=details))

    async def _texts(self, prompt: str | list[Message], temperature: float, count: int, short: Decoding) -> list[str]:
        protocol = self.identity.protocol

        async def one(seed: int) -> str:
            body = protocol.body(prompt, temperature, None if temperature == 0 else seed, short)
            answer = await self._probed(body)
            return protocol.read(answer.content, answer.headers, short).text

        return await asyncio.gather(*(one(1000 + index) for index in range(count)))

    async def _probed(self, body: dict[str, Any]) -> Reply:
        try:
            async with self._slots:
                return await patiently(lambda: self.transport.post(self.identity.protocol.route, body), PROBE_TRIES)
        except Trouble as trouble:
            raise HFDistillError(f"{self._named()} {trouble}: look into its log") from trouble


@asynccontextmanager
async def open_endpoints(teacher: TeacherConfig, decoding: Decoding) -> AsyncIterator[list[Endpoint]]:
    """The configuration's endpoints, closed at the end; nothing is sent yet."""
    if not teacher.endpoints:
        raise HFDistillError(
            "teacher.endpoints is empty: name the base URL of at least one TGI or OpenAI-style server"
        )
    endpoints = [
        Endpoint(url, decoding, teacher.model, teacher.kind, teacher.chat, teacher.api_key_env, teacher.timeout)
        for url in dict.fromkeys(teacher.endpoints)
    ]
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


def check_beginning(prompt: str | list[Message], protocol: Protocol) -> None:
    """Refuse a prompt that brings its own beginning-of-text token, since the server adds one."""
    for beginning in BEGINNINGS:
        if isinstance(prompt, str) and prompt.startswith(beginning):
            raise HFDistillError(
                f"the prompt starts with {beginning!r}, which a {protocol.kind} endpoint adds itself: the teacher "
                "would see it twice. Leave it out of the task's prompt, or use teacher.chat for a chat template"
            )


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
