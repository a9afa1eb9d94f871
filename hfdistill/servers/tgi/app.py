"""The application and its server."""

import hmac
import os
import signal
import socket
import sys
import threading
from pathlib import Path
from types import FrameType
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from ... import __version__
from ...errors import HFDistillError
from . import native_routes, openai_routes
from .backend import Backend
from .errors import ClientGoneError, MalformedError, ServeError
from .model import find_model, load_tokenizer
from .service import Service
from .text import Text
from .validation import Limits


_OPEN = frozenset({"/info", "/health", "/ping", "/metrics", "/v1/models", "/chat_tokenize"})
_MOST_TOKENS = 4096
# Seconds that requests under way have once the server is to end.
_GRACE = 30.0


def create_app(service: Service, api_key: str | None = None) -> ASGIApp:
    """The routes over a service.

    Args:
        service (`Service`): engine, tokenizer and limits.
        api_key (`str`, *optional*): what clients must send as a bearer token, except to ask how the server is.
    """
    native, openai = native_routes, openai_routes
    app = Starlette(
        routes=[
            Route("/generate", native.generate, methods=["POST"]),
            Route("/v1/completions", openai.completions, methods=["POST"]),
            Route("/v1/chat/completions", openai.chat_completions, methods=["POST"]),
            Route("/generate_stream", native.generate_stream, methods=["POST"]),
            Route("/", native.root, methods=["GET", "POST"]),
            Route("/health", native.health, methods=["GET"]),
            Route("/ping", native.health, methods=["GET"]),
            Route("/info", native.info, methods=["GET"]),
            Route("/metrics", native.metrics, methods=["GET"]),
            Route("/tokenize", native.tokenize, methods=["POST"]),
            Route("/chat_tokenize", native.chat_tokenize, methods=["POST"]),
            Route("/v1/models", openai.models, methods=["GET"]),
        ],
        exception_handlers={
            ServeError: _refuse,
            MalformedError: _refuse,
            ClientGoneError: _nobody,
        },
    )
    app.state.service = service
    return app if api_key is None else _Guard(app, api_key)


async def _refuse(request: Request, error) -> Response:
    return error.response()


async def _nobody(request: Request, error: ClientGoneError) -> Response:
    # What nginx writes into its log; the client does not see it.
    return Response(status_code=499)


class _Guard:
    """Lets those pass who know the key."""

    def __init__(self, app: ASGIApp, api_key: str):
        self.app = app
        self.expected = f"Bearer {api_key}".encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] not in _OPEN and (scope["method"], scope["path"]) != ("GET", "/"):
            given = dict(scope["headers"]).get(b"authorization", b"")
            if not hmac.compare_digest(given, self.expected):
                await Response(status_code=401)(scope, receive, send)
                return
        await self.app(scope, receive, send)


class _TGIServer(uvicorn.Server):
    """Says where it listens once it does, and ends when the engine does."""

    def __init__(self, config: uvicorn.Config, backend: Backend):
        super().__init__(config)
        self.backend = backend

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await self.backend.attach()
        await super().startup(sockets)
        if self.started:
            address = self.servers[0].sockets[0].getsockname()
            host = f"[{address[0]}]" if ":" in address[0] else address[0]
            print(f"ready: http://{host}:{address[1]}", flush=True)

    def handle_exit(self, number: int, frame: FrameType | None) -> None:
        super().handle_exit(number, frame)
        # Who sends or reads nothing any more would keep it for ever; the engine ends with its server.
        last = threading.Timer(_GRACE, os._exit, (0,))
        last.daemon = True
        last.start()

    async def on_tick(self, counter: int) -> bool:
        return await super().on_tick(counter) or self.backend.on_death.is_set()


def serve(
    model: str,
    *,
    host: str = "127.0.0.1",
    port: int = 8080,
    revision: str | None = None,
    model_id: str | None = None,
    dtype: str = "auto",
    device: str = "auto",
    max_concurrent_requests: int = 128,
    max_batch_size: int | None = None,
    max_total_tokens: int | None = None,
    max_input_tokens: int | None = None,
    payload_limit: int = 2_000_000,
    prefix_cache_mb: int = 256,
    api_key: str | None = None,
) -> None:
    """Serves a model until SIGINT or SIGTERM; requests under way have 30 seconds to be finished.

    Args:
        model (`str`): a folder, or a repository of the Hub that HF_ENDPOINT names.
        host (`str`), port (`int`): where to listen; port 0 takes a free one, which is printed.
        revision (`str`, *optional*): branch, tag or commit.
        model_id (`str`, *optional*): the name to tell clients, instead of `model`.
        dtype (`str`), device (`str`): how and where to load it.
        max_concurrent_requests (`int`): more are refused with 429.
        max_batch_size (`int`, *optional*): the most rows decoded together; all of them by default.
        max_total_tokens (`int`, *optional*), max_input_tokens (`int`, *optional*): as the model allows by default.
        payload_limit (`int`): the largest body in bytes.
        prefix_cache_mb (`int`): the most memory for what is kept of how several prompts begin.
        api_key (`str`, *optional*): the bearer token that clients must send.

    Raises:
        [`HFDistillError`]: no such model, it cannot be served, or the port is taken.
    """
    if not sys.stderr.isatty():
        from transformers.utils import logging

        logging.disable_progress_bar()
    # The engine is forked; a pool of tokenizer threads would not survive that.
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    listener = _listen(host, port)
    files = find_model(model, revision)
    text = Text(load_tokenizer(files.folder))
    limits = _limits(files.folder, max_concurrent_requests, max_total_tokens, max_input_tokens)
    max_batch_size = max_batch_size or max_concurrent_requests
    prefix_bytes = prefix_cache_mb * 2**20
    backend = Backend(str(files.folder), dtype, device, max_batch_size, prefix_bytes, max_concurrent_requests)
    state = backend.wait_until_ready()
    if text.tokenizer.chat_template is None:
        print("this model has no chat template, so /v1/chat/completions refuses every request", file=sys.stderr)
    info = _info(model_id or files.model_id, files.sha, state, limits, max_batch_size)
    app = create_app(Service(backend, text, limits, info, payload_limit), api_key)
    # What is wrong with a request is told to who sent it.
    config = uvicorn.Config(
        app, log_level="error", access_log=False, lifespan="off", timeout_keep_alive=75, server_header=False
    )
    server = _TGIServer(config, backend)
    for number in (signal.SIGINT, signal.SIGTERM):
        # uvicorn raises the signal again when everything is drained; that is a good end.
        signal.signal(number, lambda *_: None)
    loop = config.get_loop_factory()()
    try:
        loop.run_until_complete(server.serve(sockets=[listener]))
        died = backend.on_death.is_set()
        loop.run_until_complete(backend.close())
    finally:
        loop.close()
    if died:
        raise HFDistillError(
            f"the model's process ended with status {backend.process.exitcode}; its last words are above, if any"
        )


def _listen(host: str, port: int) -> socket.socket:
    if not 0 <= port <= 65535:
        raise HFDistillError(f"--port {port} is not between 0 and 65535")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        raise HFDistillError(f"cannot listen on {host}:{port}: {error.strerror}; --port 0 takes a free one") from error
    return listener


def _limits(folder: Path, concurrent: int, total: int | None, prompt: int | None) -> Limits:
    from transformers import AutoConfig

    config = AutoConfig.from_pretrained(folder).get_text_config(decoder=True)
    positions = config.to_dict().get("max_position_embeddings") or config.to_dict().get("n_positions")
    total = total or min(positions or _MOST_TOKENS, _MOST_TOKENS)
    if positions and total > positions:
        raise HFDistillError(f"--max_total_tokens {total} is beyond the model's {positions} positions")
    prompt = prompt or total - 1
    if not 0 < prompt < total:
        raise HFDistillError(f"--max_input_tokens {prompt} must be below --max_total_tokens {total}")
    return Limits(max_concurrent_requests=concurrent, max_total_tokens=total, max_input_tokens=prompt)


def _info(model_id: str, sha: str, state: dict[str, str], limits: Limits, batch: int) -> dict[str, Any]:
    return {
        "model_id": model_id,
        "model_sha": sha,
        "model_dtype": state["dtype"],
        "model_device_type": state["device"],
        "model_pipeline_tag": "text-generation",
        "max_concurrent_requests": limits.max_concurrent_requests,
        "max_best_of": limits.max_best_of,
        "max_stop_sequences": limits.max_stop_sequences,
        "max_input_tokens": limits.max_input_tokens,
        "max_total_tokens": limits.max_total_tokens,
        "max_batch_size": batch,
        "max_client_batch_size": limits.max_client_batch_size,
        "validation_workers": 1,
        "router": "hfdistill",
        "version": __version__,
        "sha": None,
        "docker_label": None,
    }
