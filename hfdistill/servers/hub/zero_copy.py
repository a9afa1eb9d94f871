"""Sends files straight from the page cache to the socket: a download then costs next to no CPU."""

import asyncio
from typing import BinaryIO

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle


EXTENSION = "hfdistill.zero_copy"


class ZeroCopy:
    """Sends a part of a file as (a part of) the body of the response that `cycle` is sending."""

    def __init__(self, transport: asyncio.Transport, cycle: RequestResponseCycle):
        self._transport = transport
        self._cycle = cycle

    async def __call__(self, file: BinaryIO, offset: int, count: int) -> bool:
        """Returns whether the client is still there."""
        if self._transport.is_closing():
            return False
        try:
            await asyncio.get_running_loop().sendfile(self._transport, file, offset, count)
        except (ConnectionError, TimeoutError):
            self._cycle.disconnected = True
            self._transport.abort()
            return False
        # uvicorn counts the bytes of a body against its announced length; these went past it.
        self._cycle.expected_content_length -= count
        return True


class ZeroCopyProtocol(HttpToolsProtocol):
    """uvicorn's protocol, which lets the application reach the socket through `scope["extensions"]`."""

    def _start_asgi_task(self, cycle: RequestResponseCycle, app) -> None:
        cycle.scope.setdefault("extensions", {})[EXTENSION] = ZeroCopy(self.transport, cycle)
        super()._start_asgi_task(cycle, app)
