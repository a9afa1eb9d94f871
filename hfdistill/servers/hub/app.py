"""The embedded Hub as an ASGI application, and its server."""

import asyncio
import ipaddress
import os
import resource
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import uvicorn

from ...errors import HFDistillError
from . import (
    absent_routes,
    account_routes,
    collection_routes,
    copy_routes,
    discussion_routes,
    download_routes,
    file_routes,
    git_routes,
    listing_routes,
    pages,
    repo_routes,
    upload_routes,
)
from .protocol import HubProtocol
from .rights import Right
from .routing import Application, Call, Response, Routes, json_response
from .service import Hub


routes = Routes()


@routes("GET", "/healthz", Right.OPEN)
def healthz(call: Call) -> Response:
    call.hub.database.row("SELECT 1")
    return json_response({"status": "ok"})


@routes("GET POST", "/api/(?:telemetry/.*|agent-harnesses)", Right.OPEN)
def nothing_to_report(call: Call) -> Response:
    # Clients ask for these in passing and expect that a Hub may not have them.
    return Response(status_code=404)


def create_app(data_dir: str | os.PathLike, *, loopback: bool = True, access_log: bool = True) -> Application:
    """The Hub over a data folder.

    Args:
        data_dir (`str` or `os.PathLike`):
            The Hub's folder; made if it does not exist.
        loopback (`bool`, *optional*, defaults to `True`):
            Whether only this machine can reach the server; without that, tokens are needed.
        access_log (`bool`, *optional*, defaults to `True`):
            One JSON line a request on stderr.

    Returns:
        `Application`: an ASGI application; its `hub` holds the state.
    """
    hub = Hub(data_dir, loopback)
    modules = (
        absent_routes,
        download_routes,
        upload_routes,
        copy_routes,
        file_routes,
        git_routes,
        repo_routes,
        listing_routes,
        collection_routes,
        discussion_routes,
        account_routes,
        pages,
    )
    all_routes = [route for module in modules for route in module.routes.all]
    return Application(hub, [*routes.all, *all_routes], pages.error_page, access_log)


def is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


# Seconds that requests under way have once the Hub is to end, and after which it ends whatever still runs.
GRACE, LAST = 15.0, 18.0


class _HubServer(uvicorn.Server):
    """Says where it listens once it does, so that whoever started it can wait for the line, and ends when it must."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        # uvicorn's own raises the signal again at the end, which would make an orderly end look like a crash.
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self.handle_exit)
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            address = self.servers[0].sockets[0].getsockname()
            host = f"[{address[0]}]" if ":" in address[0] else address[0]
            print(f"The Hub listens: export HF_ENDPOINT=http://{host}:{address[1]}", flush=True)

    def handle_exit(self, number: int, frame: FrameType | None) -> None:
        if self.should_exit:
            os._exit(128 + number)
        super().handle_exit(number, frame)
        # What is answered is kept, so that nothing is lost by ending in the middle of the rest.
        last = threading.Timer(LAST, os._exit, (0,))
        last.daemon = True
        last.start()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        asyncio.get_running_loop().call_later(GRACE, self._cut)
        await super().shutdown(sockets)

    def _cut(self) -> None:
        for connection in list(self.server_state.connections):
            connection.cut()


def serve(host: str, port: int, data_dir: str | os.PathLike, *, access_log: bool = True) -> None:
    """Serves a Hub until SIGINT or SIGTERM; requests under way have `GRACE` seconds to be finished.

    Args:
        host (`str`):
            Address to listen on. Any but a loopback address needs a token to exist.
        port (`int`):
            Port; 0 takes a free one, which is printed.
        data_dir (`str` or `os.PathLike`):
            The Hub's folder.

    Raises:
        [`HFDistillError`]: The address is public and there is no token, the port is taken, or another server uses
            the folder.
    """
    # Whatever is written from here on, also by git, is for nobody else.
    os.umask(0o077)
    # Connections that send nothing take a file descriptor each until they are closed.
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    loopback = is_loopback(host)
    app = create_app(data_dir, loopback=loopback, access_log=access_log)
    if not loopback and not app.hub.accounts.has_tokens():
        raise HFDistillError(
            f"refusing to listen on {host} without tokens, since anybody there could write: run "
            f"`hfdistill hub token create USER --data {Path(data_dir)}` first, or listen on 127.0.0.1"
        )
    app.hub.lock()
    config = uvicorn.Config(
        app,
        http=HubProtocol,
        ws="none",
        host=host,
        port=port,
        # What is wrong with a request is told to who sent it.
        log_level="error",
        access_log=False,
        timeout_keep_alive=75,
        server_header=False,
    )
    try:
        asyncio.run(_HubServer(config).serve())
    except SystemExit as error:
        raise HFDistillError(f"cannot listen on {host}:{port}: is the port taken?") from error
