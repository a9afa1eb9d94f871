"""Routes of `git clone` and `git fetch`: git's own server behind the Hub's door. Nothing can be pushed that way."""

import asyncio
import os
import re
import signal
import tempfile
import zlib
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

import anyio
from starlette.requests import ClientDisconnect

from .errors import HubError, bad_request, forbidden
from .git_cache import environment
from .pace import PATIENCE
from .places import Places
from .rights import Right
from .routing import Call, Response, Routes


routes = Routes()

# A client names what it wants and what it has: 50 bytes a commit.
MAX_REQUEST = 16 * 1024**2
PIECE = 256 * 1024
# Repositories that are made ready for git at once, and those that are sent.
_preparing, _sending = Places(2, 1), Places(4, 2)
NO_PUSH = (
    "This Hub takes no push over git: upload with `hf upload`, or by huggingface_hub's upload_file, upload_folder and "
    "create_commit."
)


@routes("GET", "/{prefix}{repo}{git}/info/refs", Right.CONTENT)
def advertise(call: Call) -> Response:
    service = call.query("service")
    if service == "git-receive-pack":
        return _plain(forbidden(NO_PUSH))
    if service != "git-upload-pack":
        return _plain(bad_request("This Hub speaks git's smart protocol alone: use git itself to clone."))
    return GitResponse(call, "info/refs")


@routes("POST", "/{prefix}{repo}{git}/git-upload-pack", Right.CONTENT, stream=True)
async def upload_pack(call: Call) -> Response:
    body = tempfile.TemporaryFile(dir=call.hub.blobs.temporary)  # noqa: SIM115 - the response reads and closes it
    # Unpacked here, since git would do it without end.
    unpack = zlib.decompressobj(wbits=31) if call.request.headers.get("content-encoding") == "gzip" else None
    try:
        async for chunk in call.request.stream():
            room = MAX_REQUEST - body.tell()
            data = unpack.decompress(chunk, room + 1) if unpack else chunk
            if len(data) > room:
                raise HubError(413, f"A request for objects may weigh at most {MAX_REQUEST} bytes, unpacked.")
            body.write(data)
    except zlib.error:
        body.close()
        return _plain(bad_request("The request is not valid gzip."))
    except HubError as error:
        body.close()
        return _plain(error)
    return GitResponse(call, "git-upload-pack", body)


def _plain(error: HubError) -> Response:
    """A refusal as git shows it."""
    return Response(f"{error.message}\n", error.status, media_type="text/plain")


class GitResponse(Response):
    """What `git http-backend` answers, piece by piece.

    Args:
        service (`str`):
            What is asked of the repository: the end of the request's path.
        body (`BinaryIO`, *optional*):
            The request's body; closed in the end.
    """

    def __init__(self, call: Call, service: str, body: BinaryIO | None = None):
        super().__init__()
        self._call, self._service, self._body = call, service, body

    async def __call__(self, scope: dict, receive: Callable, send: Callable) -> None:
        call = self._call
        try:
            async with _preparing.one(call.caller):
                folder = await call.in_thread(call.hub.git.update, call.repo)
        except HubError as error:
            await _plain(error)(scope, receive, send)
            return
        async with _sending.one(call.caller):
            # In a group of its own, since it starts other programs.
            process = await asyncio.create_subprocess_exec(
                *("git", "http-backend"),
                env=self._environment(folder),
                stdin=self._body or DEVNULL,
                stdout=PIPE,
                stderr=DEVNULL,
                start_new_session=True,
            )
            try:
                await self._pass_on(process.stdout, send)
            finally:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                await process.wait()
                if self._body:
                    self._body.close()

    def _environment(self, folder: Path) -> dict[str, str]:
        headers, body = self._call.request.headers, self._body
        protocol = headers.get("git-protocol", "")
        size = body.tell() if body else 0
        if body:
            body.seek(0)
        return environment() | {
            "GIT_PROJECT_ROOT": str(folder.parent),
            "GIT_HTTP_EXPORT_ALL": "1",
            "GIT_PROTOCOL": protocol if re.fullmatch(r"[\w=:.-]{1,100}", protocol) else "",
            "PATH_INFO": f"/{folder.name}/{self._service}",
            "QUERY_STRING": "" if body else "service=git-upload-pack",
            "REQUEST_METHOD": "POST" if body else "GET",
            "CONTENT_TYPE": "application/x-git-upload-pack-request",
            "CONTENT_LENGTH": str(size),
        }

    async def _pass_on(self, answer: asyncio.StreamReader, send: Callable) -> None:
        head = await answer.readuntil(b"\r\n\r\n")
        fields = dict(line.split(b": ", 1) for line in head.splitlines() if line)
        status = int(fields.pop(b"Status", b"200")[:3])
        headers = [(name.lower(), value) for name, value in fields.items()]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        while piece := await answer.read(PIECE):
            if await self._call.request.is_disconnected():
                return
            try:
                # One of the few places is taken meanwhile.
                with anyio.fail_after(PATIENCE):
                    await send({"type": "http.response.body", "body": piece, "more_body": True})
            except TimeoutError as error:
                raise ClientDisconnect from error
        await send({"type": "http.response.body", "body": b""})
