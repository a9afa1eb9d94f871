"""Requests, routes and the ASGI application around them.

Routes match the raw path: clients percent-quote a revision or a path as one segment, and an ASGI server's decoded
path no longer tells `refs%2Fpr%2F1` from three segments.
"""

import base64
import contextlib
import json
import re
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, unquote, urlencode, urlsplit

import anyio
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from .accounts import ANONYMOUS, User
from .database import new_id
from .errors import HubError, bad_request, disk_refusal, forbidden, repo_not_found
from .pace import paced
from .places import Places
from .repositories import PREFIXES, Repo
from .rights import Right, check_user
from .strict_json import parse_json


HOST = re.compile(r"[\w.:\[\]-]*", re.ASCII)
# A name without a namespace is a canonical repository on the real Hub; there are none here.
CANONICAL = re.compile(
    r"/api/(?:models|datasets|spaces)/([^/]+)"
    r"(?:/(?:revision|tree|refs|commits|paths-info|discussions|auth-check|settings|preupload|commit|tag|branch)(?:/.*)?)?"
    r"|/(?:datasets/|spaces/)?([^/]+)/(?:resolve|raw)/.*"
)
# What a JSON or form body may weigh, of a user and of a stranger; contents come by other ways.
MAX_BODY, MAX_BODY_OF_STRANGERS = 4 * 1024**2, 1024**2
# Threads of what is quick; then threads, and a caller's share of them: of what may wait for readers, the disk or other
# commits, and of large uploads, which wait for clients.
THREADS = 16
PATIENT = 16, 6
UPLOADS = 32, 8
TYPES = {prefix: repo_type for repo_type, prefix in PREFIXES.items()}
CONTENT_HASH = re.compile(r"\b([0-9a-f]{8})[0-9a-f]{56}\b")
PATTERNS = {
    "type": "models|datasets|spaces",
    "prefix": "(?:datasets/|spaces/|(?!(?:api|datasets|spaces|collections|_cas|_lfs)/))",
    "repo": "[^/]+/[^/]+?",
    "git": r"(?:\.git)?",
    "slug": "[^/]+/[^/]+",
    "id": "[^/]+/[^/]+",
    "rev": "refs/[^/]+/[^/]+|[^/]+",
    "path": ".*",
}


@dataclass
class Call:
    """One request: who, what, and the Hub that answers.

    `in_thread` runs what blocks, but not for long, beside the event loop; `patiently` and `uploading` run what may
    take longer, and large uploads, in a caller's share of the threads for it. `repo` is the repository of the address,
    for which the caller has the route's right.
    """

    hub: Any
    request: Request
    params: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    user: User | None = None
    repo: Repo | None = None
    in_thread: Callable | None = None
    patiently: Callable | None = None
    uploading: Callable | None = None

    @property
    def caller(self) -> str:
        """Who has a share of what there is little of: a user, or a stranger's address."""
        return self.user.name or self.request.client.host

    @property
    def base_url(self) -> str:
        return f"{self.request.url.scheme}://{self.request.headers.get('host', 'localhost')}"

    @property
    def repo_type(self) -> str:
        return self.params["type"].removesuffix("s") if "type" in self.params else TYPES[self.params["prefix"]]

    def query(self, key: str) -> str | None:
        values = self.queries(key)
        return values[-1] if values else None

    def queries(self, key: str) -> list[str]:
        values = self._query()
        return values.get(key, []) + values.get(f"{key}[]", [])

    def query_names(self) -> list[str]:
        return [name.removesuffix("[]") for name in self._query()]

    def _query(self) -> dict[str, list[str]]:
        try:
            query = self.request.scope["query_string"].decode("ascii")
            return parse_qs(query, True, errors="strict", max_num_fields=500)
        except ValueError as error:
            raise bad_request(f"Malformed query: {error}") from error

    def flag(self, key: str) -> bool:
        return (self.query(key) or "").lower() in ("1", "true")

    def number(self, key: str, default: int, low: int, high: int) -> int:
        text = self.query(key)
        if text is None:
            return default
        if not text.isascii() or not text.isdigit() or len(text) > 9:
            raise bad_request(f"'{key}' must be a number, got '{text}'.")
        return max(low, min(int(text), high))

    def json(self) -> dict:
        value = parse_json(self.body or b"{}", "The body")
        if value is None:
            return {}
        if not isinstance(value, dict):
            raise bad_request("The body must be a JSON object.")
        return value

    def form(self) -> dict[str, list[str]]:
        try:
            return parse_qs(self.body.decode(), True, errors="strict", max_num_fields=20_000)
        except ValueError as error:
            raise bad_request(f"Malformed form: {error}") from error

    def next_link(self, path: str | None = None, **changes: str) -> dict[str, str]:
        """The header that leads clients to the next page, of this address or of `path`."""
        path = path or self.request.scope["raw_path"].decode("ascii")
        query = urlencode({**self._query(), **changes}, doseq=True)
        return {"Link": f'<{self.base_url}{path}?{query}>; rel="next"'}


def json_response(content: object, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    text = json.dumps(content, separators=(",", ":"))
    return Response(text, status, headers, media_type="application/json")


@dataclass(frozen=True)
class Route:
    methods: tuple[str, ...]
    pattern: re.Pattern
    path: str
    handler: Callable
    right: Right
    stream: bool
    patient: bool


class Routes:
    """Routes of one subject, gathered by decorators.

    Args:
        patient (`bool`, *optional*, defaults to `False`):
            All handlers may wait for what takes its time.
    """

    def __init__(self, patient: bool = False) -> None:
        self.all: list[Route] = []
        self.patient = patient

    def __call__(self, methods: str, path: str, right: Right, stream: bool = False, patient: bool = False) -> Callable:
        """Registers a handler.

        Args:
            methods (`str`):
                Separated by spaces; who takes GET takes HEAD.
            path (`str`):
                With `{type}`, `{prefix}`, `{repo}`, `{rev}`, `{path}` or any other name for one segment.
            right ([`~rights.Right`]):
                What the caller must have; with `{repo}` in the path, over that repository.
            stream (`bool`, *optional*, defaults to `False`):
                The handler is a coroutine that reads the body itself. All others run in a thread.
            patient (`bool`, *optional*, defaults to `False`):
                The handler may wait for what takes its time.
        """
        pattern = re.sub(r"\{(\w+)\}", lambda m: f"(?P<{m[1]}>{PATTERNS.get(m[1], '[^/]+')})", path)

        def register(handler: Callable) -> Callable:
            waits = patient or self.patient
            self.all.append(Route(tuple(methods.split()), re.compile(pattern), path, handler, right, stream, waits))
            return handler

        return register


class Application:
    """The ASGI application."""

    def __init__(self, hub: Any, routes: list[Route], error_page: Callable, access_log: bool = True):
        self.hub = hub
        self.routes = routes
        self.error_page = error_page
        self.access_log = access_log
        self._quick = anyio.CapacityLimiter(THREADS)
        self._patient, self._uploads = Places(*PATIENT), Places(*UPLOADS)

    async def __call__(self, scope: dict, receive: Callable, send: Callable) -> None:
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
            return
        if scope["type"] != "http":
            return
        started = time.perf_counter()
        sent = {"status": 499, "bytes": 0}
        request_id = new_id()

        async def logged_send(message: dict) -> None:
            if message["type"] == "http.response.start":
                sent["status"] = message["status"]
                sent["bytes"] = int(dict(message["headers"]).get(b"content-length", 0))
                message["headers"] = [*message["headers"], (b"x-request-id", request_id.encode())]
            await send(message)

        call = Call(
            self.hub,
            Request(scope, paced(receive)),
            in_thread=self.in_thread,
            patiently=self._patient.in_thread,
            uploading=self._uploads.in_thread,
        )
        try:
            response = await self._answer(call)
            await response(scope, receive, logged_send)
        except ClientDisconnect:
            pass
        finally:
            if self.access_log:
                self._log(call, sent, time.perf_counter() - started, request_id)

    async def _lifespan(self, receive: Callable, send: Callable) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.shutdown":
                self.hub.close()
            await send({"type": f"{message['type']}.complete"})
            if message["type"] == "lifespan.shutdown":
                return

    async def _answer(self, call: Call) -> Response:
        try:
            route = self._match(call)
            reads_body = call.request.method not in ("GET", "HEAD")
            if not reads_body and not route.patient:
                return await self.in_thread(self._admit_and_run, route, call)
            await self.in_thread(self._admit, route, call)
            if route.stream:
                return await route.handler(call)
            if reads_body:
                call.body = await read_body(call)
            if route.patient:
                return await call.patiently(call.caller, route.handler, call)
            return await self.in_thread(route.handler, call)
        except ClientDisconnect:
            raise
        except HubError as error:
            return self._refuse(call, error)
        except Exception as error:
            if refusal := disk_refusal(error):
                return self._refuse(call, refusal)
            # The traceback is for whoever runs the Hub; the client learns only that it happened.
            sys.excepthook(type(error), error, error.__traceback__)
            return HubError(500, "Internal error of the Hub.").response()

    def _refuse(self, call: Call, error: HubError) -> Response:
        if error.status == 507 and call.request.url.path.startswith("/_cas/"):
            # Xet clients retry every 5xx for minutes.
            error = HubError(413, error.message)
        wants_page = "text/html" in call.request.headers.get("accept", "") and call.request.method == "GET"
        return self.error_page(call, error) if wants_page else error.response()

    def _admit(self, route: Route, call: Call) -> None:
        """The door: who is it, and may they have what the route gives?"""
        call.user = authenticate(call)
        right = route.right
        if right is Right.PUSH:
            proposes = call.flag("create_pr") or call.params["rev"].startswith("refs/pr/")
            right = Right.PROPOSE if proposes else Right.WRITE
        if "repo" in call.params:
            call.repo = self.hub.repositories.get(call.user, call.repo_type, call.params["repo"], right)
        else:
            check_user(call.user, right)

    def _admit_and_run(self, route: Route, call: Call) -> Response:
        self._admit(route, call)
        return route.handler(call)

    async def in_thread(self, function: Callable, *args: Any) -> Any:
        """Runs what blocks, but not for long, beside the event loop."""
        return await anyio.to_thread.run_sync(function, *args, limiter=self._quick)

    def _match(self, call: Call) -> Route:
        path = call.request.scope["raw_path"].decode("latin-1").partition("?")[0]
        method = call.request.method
        allowed: list[str] = []
        for route in self.routes:
            match = route.pattern.fullmatch(path)
            if not match:
                continue
            if method not in route.methods and not (method == "HEAD" and "GET" in route.methods):
                allowed += route.methods
                continue
            try:
                call.params = {key: unquote(value, errors="strict") for key, value in match.groupdict().items()}
            except UnicodeDecodeError as error:
                raise bad_request("The path is not valid UTF-8.") from error
            return route
        if allowed:
            raise HubError(405, f"This Hub takes {', '.join(dict.fromkeys(allowed))} at this address, not {method}.")
        if match := CANONICAL.fullmatch(path):
            raise repo_not_found(unquote(match[1] or match[2]))
        raise HubError(404, f"This Hub has nothing at '{unquote(path)[:300]}'.")

    def _log(self, call: Call, sent: dict, seconds: float, request_id: str) -> None:
        path = call.request.scope["raw_path"].decode("latin-1")
        line = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "method": call.request.method,
            # Without the query, which may carry a signature, and without whole hashes of contents.
            "path": CONTENT_HASH.sub(r"\1…", path.partition("?")[0])[:500],
            "status": sent["status"],
            "bytes": sent["bytes"],
            "ms": round(seconds * 1000, 1),
            "user": call.user.name if call.user else None,
            "id": request_id,
        }
        with contextlib.suppress(OSError):  # a log on a full disk ends no request
            print(json.dumps(line), file=sys.stderr, flush=True)


async def read_body(call: Call) -> bytes:
    limit = MAX_BODY_OF_STRANGERS if call.user.anonymous else MAX_BODY
    too_long = HubError(413, f"The body is over {limit} bytes.")
    announced = call.request.headers.get("content-length", "0")
    if not announced.isdigit() or int(announced[:20]) > limit:
        raise too_long
    chunks: list[bytes] = []
    size = 0
    async for chunk in call.request.stream():
        size += len(chunk)
        if size > limit:
            raise too_long
        chunks.append(chunk)
    return b"".join(chunks)


def authenticate(call: Call) -> User:
    check_origin(call)
    if call.request.url.path.startswith("/_cas/"):
        # The Xet store has tokens of its own, which its routes verify.
        return ANONYMOUS
    scheme, _, value = call.request.headers.get("authorization", "").partition(" ")
    token = value.strip() or None
    if scheme.lower() == "basic" and token:
        # Browsers and git send the token as the password of any user name.
        token = basic_password(token)
    return call.hub.accounts.authenticate(token)


def basic_password(credentials: str) -> str:
    try:
        return base64.b64decode(credentials).decode().partition(":")[2]
    except ValueError as error:
        raise HubError(401, "Invalid credentials in Authorization header") from error


def check_origin(call: Call) -> None:
    """Keeps web pages of others from speaking to the Hub through their reader's browser.

    A browser names the page's origin with every request that changes something. An open Hub moreover answers only to
    this machine's names, so that no page can reach it by pointing its own name here.
    """
    host = call.request.headers.get("host", "")
    if not HOST.fullmatch(host):
        raise bad_request("Malformed Host header.")
    if not call.hub.accounts.has_tokens():
        if not call.hub.loopback:
            raise forbidden("This Hub lost its last token: make one with `hfdistill hub token create`.")
        try:
            name = urlsplit(f"//{host}").hostname or ""
        except ValueError:
            name = host
        if name not in ("localhost", "::1") and not name.startswith("127."):
            raise forbidden(f"This Hub has no tokens, so it answers only to this machine's own names, not '{name}'.")
    origin = call.request.headers.get("origin")
    if origin and call.request.method not in ("GET", "HEAD", "OPTIONS") and urlsplit(origin).netloc != host:
        raise forbidden(f"Requests from pages of '{origin}' are refused.")
