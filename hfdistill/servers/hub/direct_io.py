"""Large bodies past Python's event loop: files go from the page cache to the socket, uploads from the socket to a
thread. Both then cost few wake-ups and few copies, which matters most where the machine is busy training.
"""

import asyncio
import os
import select
import socket
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import BinaryIO

from starlette.requests import ClientDisconnect
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from .direct_files import PIECE, Receiver, put
from .errors import HubError
from .pace import Pace, too_slow


EXTENSION = "hfdistill.direct_io"
# What is still read of an upload that is refused half-way.
DRAINED = 64 * PIECE


class DirectIO:
    """The socket of the request that `cycle` answers."""

    def __init__(self, transport: asyncio.Transport, cycle: RequestResponseCycle):
        self._transport = transport
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
            raise self._gone() from error
        # uvicorn counts the bytes of a body against its announced length; these went past it.
        self._cycle.expected_content_length -= count

    async def take_body(self, receiver: Receiver, length: int, in_thread: Callable[..., Awaitable]) -> None:
        """Hands a request's body of `length` bytes, of which the application has read nothing, to `receiver`.

        That runs by `in_thread`. The connection ends with the response, since the parser has not seen the body.

        Raises:
            `ClientDisconnect`: The client has gone.
            [`HubError`]: 408, the body comes too slowly.
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
                await in_thread(_read, copy, first, length, receiver)
        except ConnectionError as error:
            raise self._gone() from error

    def _gone(self) -> ClientDisconnect:
        # uvicorn has not noticed it, since it does not read from the socket.
        self._cycle.disconnected = True
        self._transport.abort()
        return ClientDisconnect()


def _read(connection: socket.socket, first: bytes, length: int, receiver: Receiver) -> None:
    left = length - len(first)
    pace = Pace()
    try:
        put(first, receiver)
        while left > 0:
            count = _read_into(connection, receiver.room()[:left], pace)
            left -= count
            receiver.advance(count)
    except ConnectionError:
        raise
    except Exception as error:
        # A client that is still sending when the connection closes never sees the answer that says why.
        left = min(left, DRAINED)
        room = memoryview(bytearray(PIECE))
        with suppress(HubError):
            while left > 0:
                left -= _read_into(connection, room[:left], pace)
        raise error


def _read_into(connection: socket.socket, room: memoryview, pace: Pace) -> int:
    started = time.monotonic()
    while True:
        try:
            count = connection.recv_into(room)
        except BlockingIOError:
            poll = select.poll()
            poll.register(connection, select.POLLIN)
            if not poll.poll(pace.left * 1000):
                raise too_slow() from None
            continue
        if count == 0:
            raise ConnectionResetError("the client has gone")
        pace.note(count, time.monotonic() - started)
        return count
