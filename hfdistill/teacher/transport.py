"""HTTP to one endpoint: what is sent where, and what every kind of trouble means for the sampler."""

import asyncio
import ipaddress
import json
import os
import re
import urllib.parse
import urllib.request
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import aiohttp
import orjson

from ..errors import HFDistillError
from .retry_after import asked_to_wait
from .tempo import Tempo


CHECK = "check the URL, the server and its token"
CONNECT_SECONDS = 10.0
LARGEST_LIST = 8 << 20  # of what a GET answers: a router lists hundreds of models
HUGGING_FACE_HOSTS = ("huggingface.co", "huggingface.cloud")
# A base that already says which version of the interface it is, as `…/v1beta/openai` does; to others `/v1` is added.
VERSION = re.compile(r"/v\d\w*(?=/|$)")
# What stands for a secret in the words of a server or of a proxy.
SECRET = re.compile(r"(?<=://)[^/@\s]+@|\b(?:sk-|hf_|gsk_|AIza)[\w*-]{6,}|(?i:(?<=bearer )\S+)")
# What names a machine that only its own network knows: what a gateway says of those behind it.
INSIDE = re.compile(
    r"(?:(?<=://)…?[\w-]+|\b(?:10|127)(?:\.\d{1,3}){3}|\b192\.168(?:\.\d{1,3}){2}"
    r"|\b172\.(?:1[6-9]|2\d|3[01])(?:\.\d{1,3}){2}|\blocalhost(?=:)"
    r"|\b[\w-]+(?:\.[\w-]+)*\.(?:internal|local|lan|svc))(?![\w.-]*\.\w)(?::\d+)?",
    re.IGNORECASE,
)
LONE_SURROGATE = re.compile("[\ud800-\udfff]")

# What each status says. 401, 402 and 407 are about who asks, the redirects about where: no other question helps.
BUSY = (429, 498, 503, 529)
GONE = (401, 402, 407)
PASSING = (408, 409, 424, 425)


class Trouble(Exception):
    """A request without an answer; the kinds say what to do about it.

    Attributes:
        status (`int`, *optional*): the HTTP status, if there was one.
    """

    def __init__(self, reason: str, status: int | None = None):
        super().__init__(reason)
        self.status = status


class Busy(Trouble):
    """The endpoint has too much to do or is starting (429, 503, 529): ask again, slower.

    Attributes:
        sent (`float`): when the request was sent, by the monotonic clock.
        wait (`float`, *optional*): seconds that the server asks to wait.
    """

    def __init__(self, reason: str, status: int, sent: float, wait: float | None):
        super().__init__(reason, status)
        self.sent, self.wait = sent, wait


class Faulty(Trouble):
    """This try went wrong (5xx, 424, a broken answer): ask again, a few times."""


class Late(Faulty):
    """The answer did not come in time, perhaps since too much is asked at once.

    Attributes:
        sent (`float`): when the request was sent, by the monotonic clock.
    """

    def __init__(self, reason: str, sent: float):
        super().__init__(reason)
        self.sent = sent


class Rejected(Trouble):
    """The request itself is refused (400, 403, 404, 413, 422 and others): asking again would not help."""


class Gone(Trouble):
    """There is no such endpoint now (refused connection, wrong token, paused): leave it until it is back."""


@dataclass(frozen=True)
class Reply:
    """A JSON object and the headers that it came with."""

    content: dict[str, Any]
    headers: Mapping[str, str]


def base_url(url: str) -> str:
    """An endpoint's base URL, without the route that users copy along with it; a version that others than `/v1` end in
    stays.
    """
    parts = urllib.parse.urlsplit(url.strip())
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise HFDistillError(f"teacher.endpoints holds {url!r}, which is no URL: write http://host:port")
    if parts.username is not None:  # it would stand in journals and messages
        raise HFDistillError(
            f"the URL of the endpoint at {parts.hostname} holds a user name or password: leave it out, and name the "
            "environment variable that holds the token in teacher.api_key_env"
        )
    if parts.query:
        raise HFDistillError(
            f"the URL of the endpoint at {parts.hostname} holds parameters behind a '?', which its routes would lose: "
            "leave them out, and name the environment variable that holds a token in teacher.api_key_env"
        )
    path = parts.path.rstrip("/")
    for route in ("/chat/completions", "/completions", "/models", "/generate_stream", "/generate", "/info", "/v1"):
        path = path.removesuffix(route)
    return urllib.parse.urlunsplit((parts.scheme, parts.netloc, path, "", ""))


def authorization(url: str, api_key_env: str | None) -> str | None:
    """The token that may be sent to a URL.

    The one in the environment variable `api_key_env`, where the user named one; else the saved Hugging Face token, to
    Hugging Face's hosts by https only; else none.
    """
    if api_key_env is not None:
        key = os.environ.get(api_key_env)
        if not key:
            raise HFDistillError(f"teacher.api_key_env is {api_key_env!r}, but that environment variable is not set")
        return f"Bearer {key}"
    if urllib.parse.urlsplit(url).scheme != "https" or not on_hugging_face(url):
        return None
    from huggingface_hub import get_token

    token = get_token()
    return f"Bearer {token}" if token else None


def on_hugging_face(url: str) -> bool:
    """Whether a URL's host is Hugging Face's."""
    host = urllib.parse.urlsplit(url).hostname or ""
    return any(host == known or host.endswith(f".{known}") for known in HUGGING_FACE_HOSTS)


def proxy_of(url: str) -> str | None:
    """The proxy that the environment prescribes for a URL; looked up once, since it costs more than a request.

    Raises:
        [`~hfdistill.errors.HFDistillError`]: if that is no HTTP proxy.
    """
    parts = urllib.parse.urlsplit(url)
    prescribed = urllib.request.getproxies()
    proxy = prescribed.get(parts.scheme) or prescribed.get("all")
    if not proxy or _is_near(parts.hostname, prescribed.get("no", "")) or urllib.request.proxy_bypass(parts.hostname):
        return None
    proxy = proxy if "://" in proxy else f"http://{proxy}"
    kind, _, place = proxy.partition("://")
    if kind not in ("http", "https"):
        raise HFDistillError(
            f"the environment prescribes a {kind} proxy, {place.rpartition('@')[2]}, for {parts.hostname}: give an "
            f"HTTP proxy in {parts.scheme.upper()}_PROXY, or name the host in NO_PROXY"
        )
    return proxy


def _is_near(host: str, exceptions: str) -> bool:
    """Whether a host is this machine, or an address in a network that `NO_PROXY` names."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host == "localhost"
    networks = []
    for entry in exceptions.split(","):
        with suppress(ValueError):  # a name
            networks.append(ipaddress.ip_network(entry.strip(), strict=False))
    return address.is_loopback or address.is_unspecified or any(address in network for network in networks)


class Transport:
    """Requests to one endpoint over connections that are kept.

    Redirects are not followed and compressed answers not asked for: both would let a server decide where a token goes
    or how much memory an answer takes.

    Args:
        url (`str`): base URL.
        token (`str`, *optional*): value of the header `Authorization`.
        timeout (`float`, *optional*, defaults to 600): seconds that one request may take.
        largest (`int`, *optional*, defaults to 1 MiB): bytes that one answer may have.

    Attributes:
        tempo ([`~hfdistill.teacher.tempo.Tempo`]): how often it may be posted to.
        posted (`int`): requests in flight.
    """

    def __init__(self, url: str, token: str | None = None, timeout: float = 600.0, largest: int = 1 << 20):
        self.url, self.largest, self.timeout = url, largest, timeout
        self.tempo, self.posted = Tempo(), 0
        self._versioned = VERSION.search(urllib.parse.urlsplit(url).path) is not None
        headers = {"Content-Type": "application/json", "Accept": "application/json", "Accept-Encoding": "identity"}
        # A request is held while an Inference Endpoint starts from zero; other servers ignore it.
        self._patient = {"X-Scale-Up-Timeout": str(int(timeout))}
        if token:
            headers["Authorization"] = token
        self._proxy = proxy_of(url)
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=30),
            headers=headers,
            timeout=aiohttp.ClientTimeout(total=timeout, sock_connect=CONNECT_SECONDS),
            cookie_jar=aiohttp.DummyCookieJar(),
            skip_auto_headers=("User-Agent",),
        )

    async def close(self) -> None:
        """Close all connections."""
        await self._session.close()

    async def get(self, route: str, timeout: float = 30.0) -> Reply:
        """Read a route that answers with a JSON object; its `/v1` gives way to a version in the base."""
        timeout = min(timeout, self.timeout)
        return await self._exchange(
            "GET", route, timeout, max(self.largest, LARGEST_LIST), 0.0, timeout=aiohttp.ClientTimeout(timeout)
        )

    async def post(self, route: str, body: dict[str, Any]) -> Reply:
        """Post a JSON object, as soon as the tempo allows it, and read one.

        Raises:
            [`Busy`], [`Faulty`], [`Rejected`], [`Gone`]: see there.
        """
        while (delay := self.tempo.delay()) > 0:
            await asyncio.sleep(delay)
        sent = self.tempo.send()
        self.posted += 1
        try:
            reply = await self._exchange(
                "POST", route, self.timeout, self.largest, sent, data=orjson.dumps(body), headers=self._patient
            )
        except Busy as trouble:
            if trouble.wait is not None:
                self.tempo.refused(sent, trouble.wait)
            raise
        finally:
            self.posted -= 1
        self.tempo.answered()
        return reply

    async def _exchange(
        self, method: str, route: str, seconds: float, largest: int, sent: float, **options: Any
    ) -> Reply:
        if self._versioned:
            route = route.removeprefix("/v1")
        try:
            async with self._session.request(
                method, self.url + route, proxy=self._proxy, allow_redirects=False, **options
            ) as response:
                text = await _read(response, largest)
                if response.status != 200:
                    raise _refusal(response.status, text, response.headers, sent)
                if "json" not in response.headers.get("Content-Type", ""):
                    kind = response.headers.get("Content-Type", "nothing")
                    raise Faulty(f"answered {kind!r} instead of JSON", response.status)
                content = _loads(text)
        except (ValueError, RecursionError) as error:
            raise Faulty(f"answered invalid JSON: {error}") from error
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            raise Gone(f"cannot be reached ({_short(error.__cause__ or error)})") from error
        except TimeoutError as error:
            raise Late(f"did not answer within {seconds:g} s", sent) from error
        except (aiohttp.ClientError, ConnectionError) as error:
            raise Faulty(f"broke off ({_short(error)})") from error
        if not isinstance(content, dict):
            raise Faulty(f"answered a JSON {type(content).__name__} instead of an object")
        return Reply(content, response.headers)


async def _read(response: aiohttp.ClientResponse, largest: int) -> bytes:
    if (response.content_length or largest + 1) <= largest:
        return await response.read()
    pieces, size = [], 0
    async for piece in response.content.iter_any():
        pieces.append(piece)
        size += len(piece)
        if size > largest:
            response.close()
            raise Faulty(f"answered more than {largest} bytes")
    return b"".join(pieces)


def _loads(text: bytes) -> Any:
    """What JSON says; the half of a character that a response was cut off in is replaced."""
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        if b"\\ud" not in text.lower():
            raise
    return orjson.loads(LONE_SURROGATE.sub("\ufffd", json.dumps(json.loads(text), ensure_ascii=False)))


def _refusal(status: int, text: bytes, headers: Mapping[str, str], sent: float) -> Trouble:
    reason = f"answered {status}: {_message(text)}"
    if status in BUSY:
        return Busy(reason, status, sent, asked_to_wait(headers, text[:4096].decode(errors="replace")))
    if status in GONE or 300 <= status < 400 or (status == 400 and b"endpoint is paused" in text.lower()):
        return Gone(reason, status)
    if 400 <= status < 500 and status not in PASSING:
        return Rejected(reason, status)
    return Faulty(reason, status)


def _message(text: bytes) -> str:
    """The readable part of an error's body, in one line."""
    try:
        content = orjson.loads(text)
    except orjson.JSONDecodeError:
        content = text.decode(errors="replace")
    if isinstance(content, dict):
        content = content.get("error", content.get("message", content))
    if isinstance(content, dict):
        content = content.get("message", content)
    return redacted(" ".join(str(content).split()))[:300] or "no message"


def redacted(words: str) -> str:
    """Somebody's words without the passwords and tokens in them, and without the machines of a network inside."""
    return INSIDE.sub("…", SECRET.sub("…", words))


def _short(error: BaseException) -> str:
    return redacted(" ".join(f"{type(error).__name__}: {error}".split()))[:200]
