"""Large bodies past Python's event loop: files go from the page cache to the socket, uploads from the socket to a
thread. Both then cost few wake-ups and few copies, which matters most where the machine is busy training.
"""

import asyncio
import os
import select
import socket
from typing import BinaryIO

import anyio
from starlette.requests import ClientDisconnect
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from .direct_files import PIECE, Receiver, put


EXTENSION = "hfdistill.direct_io"
# Seconds without a byte after which an upload is given up.
PATIENCE = 60
# What is still read of an upload that is refused half-way.
DRAINED = 64 * PIECE
# Uploads at once, in threads of their own so that they cannot hold up anything else.
UPLOADS = 32


class DirectIO:
    """The socket of the request that `cycle` answers."""

    def __init__(self, protocol: "DirectProtocol", cycle: RequestResponseCycle):
        self._protocol = protocol
        self._transport = protocol.transport
        self._cycle = cycle

    async def send_file(self, file: BinaryIO, offset: int, count: int) -> None:
        """Sends a part of a file as (a part of) the response's body.

        Raises:
            `ClientDisconnect`: The client has gone.
        """
        if self._transport.is_closing():
            raise ClientDisconnect
        try:
            await asyncio.get_running_loop().sendfile(self._transport, file, offset, count)
        except (ConnectionError, TimeoutError) as error:
            self._cycle.disconnected = True
            self._transport.abort()
            raise ClientDisconnect from error
        # uvicorn counts the bytes of a body against its announced length; these went past it.
        self._cycle.expected_content_length -= count

    async def take_body(self, receiver: Receiver, length: int) -> None:
        """Hands a request's body of `length` bytes, of which the application has read nothing, to `receiver`.

        That runs in a thread. The connection ends with the response, since the parser has not seen the body.

        Raises:
            `ClientDisconnect`: The client has gone, or sends nothing any more.
        """
        cycle = self._cycle
        cycle.flow.pause_reading()
        cycle.keep_alive = False
        if cycle.waiting_for_100_continue:
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            cycle.waiting_for_100_continue = False
        first, cycle.body = bytes(cycle.body), bytearray()
        descriptor = os.dup(self._transport.get_extra_info("socket").fileno())
        try:
            with socket.socket(fileno=descriptor) as copy:
                await anyio.to_thread.run_sync(
                    _read, copy, first, length, receiver, limiter=self._protocol.upload_limit()
                )
        except ConnectionError as error:
            raise ClientDisconnect from error


def _read(connection: socket.socket, first: bytes, length: int, receiver: Receiver) -> None:
    left = length - len(first)
    try:
        put(first, receiver)
        while left > 0:
            count = _read_into(connection, receiver.room()[:left])
            left -= count
            receiver.advance(count)
    except ConnectionError:
        raise
    except Exception:
        # A client that is still sending when the connection closes never sees the answer that says why.
        left = min(left, DRAINED)
        room = memoryview(bytearray(PIECE))
        while left > 0:
            left -= _read_into(connection, room[:left])
        raise


def _read_into(connection: socket.socket, room: memoryview) -> int:
    while True:
        try:
            count = connection.recv_into(room)
        except BlockingIOError:
            poll = select.poll()
            poll.register(connection, select.POLLIN)
            if not poll.poll(PATIENCE * 1000):
                raise ConnectionResetError("the upload has stalled") from None
            continue
        if count == 0:
            raise ConnectionResetError("the client has gone")
        return count


class DirectProtocol(HttpToolsProtocol):
    """uvicorn's protocol, which lets the application reach the socket through `scope["extensions"]`."""

    _limit: anyio.CapacityLimiter | None = None

    @classmethod
    def upload_limit(cls) -> anyio.CapacityLimiter:
        if cls._limit is None:
            cls._limit = anyio.CapacityLimiter(UPLOADS)
        return cls._limit

    def _start_asgi_task(self, cycle: RequestResponseCycle, app) -> None:
        cycle.scope.setdefault("extensions", {})[EXTENSION] = DirectIO(self, cycle)
        super()._start_asgi_task(cycle, app)
