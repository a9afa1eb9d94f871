"""A connection to the Hub: how long and how large the head of a request may be, and the way past the event loop."""

import asyncio
import fcntl
import socket
import struct
import termios
from contextlib import suppress

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from . import pace
from .direct_io import EXTENSION, DirectIO
from .errors import HubError


MAX_HEAD = 64 * 1024
# Seconds for a head from its first byte, or from the beginning of the connection, and for the rest of a body whose
# answer is sent: a client that is still sending when the connection closes may never see it.
HEAD_SECONDS = 10
# Where the kernel's `tcp_info` counts the bytes that the other side has taken.
TAKEN = slice(120, 128)
RESET = struct.pack("ii", 1, 0)


class HubProtocol(HttpToolsProtocol):
    """uvicorn's protocol with limits, which lets the application reach the socket through `scope["extensions"]`."""

    _in_head = True
    _head_bytes = 0
    _deadline: asyncio.TimerHandle | None = None
    _look: asyncio.TimerHandle
    _due = 0

    def connection_made(self, transport: asyncio.Transport) -> None:
        super().connection_made(transport)
        # The kernel ends the connection of whoever takes nothing of what is sent.
        option = (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, pace.PATIENCE * 1000)
        transport.get_extra_info("socket").setsockopt(*option)
        self._start_deadline()
        self._look_at_reader()

    def connection_lost(self, exc: Exception | None) -> None:
        self._end_deadline()
        self._look.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._in_head:
            if self._deadline is None:
                self._start_deadline()
            room = MAX_HEAD - self._head_bytes
            first, data = data[:room], data[room:]
            self._head_bytes += len(first)
            super().data_received(first)
            if self._in_head and self._head_bytes >= MAX_HEAD and not self.transport.is_closing():
                self._refuse(HubError(431, f"The head of a request may weigh at most {MAX_HEAD} bytes."))
        if data and not self.transport.is_closing():
            super().data_received(data)

    def on_headers_complete(self) -> None:
        self._in_head, self._head_bytes = False, 0
        self._end_deadline()
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._in_head = True
        self._end_deadline()
        super().on_message_complete()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if not self._in_head:
            self._start_deadline()

    def cut(self) -> None:
        """Ends the connection for everybody who reads or writes it, in threads too."""
        with suppress(OSError):
            self.transport.get_extra_info("socket").shutdown(socket.SHUT_RDWR)

    def _look_at_reader(self) -> None:
        """Ends the connection of whoever takes too little of what waits for it, now and again."""
        connection = self.transport.get_extra_info("socket")
        taken = int.from_bytes(connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, TAKEN.stop)[TAKEN], "little")
        if taken < self._due:
            # What the kernel still holds for it goes, too.
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            self.cut()
            return
        (sent,) = struct.unpack("i", fcntl.ioctl(connection, termios.TIOCOUTQ, bytes(4)))
        self._due = taken + min(sent + self.transport.get_write_buffer_size(), pace.FLOOR)
        self._look = self.loop.call_later(pace.PATIENCE, self._look_at_reader)

    def _start_deadline(self) -> None:
        self._deadline = self.loop.call_later(HEAD_SECONDS, self.transport.close)

    def _end_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _refuse(self, refusal: HubError) -> None:
        answer = refusal.response()
        head = b"".join(b"%s: %s\r\n" % header for header in answer.raw_headers)
        self.transport.write(STATUS_LINE[refusal.status] + head + b"connection: close\r\n\r\n" + answer.body)
        self.transport.close()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app) -> None:
        cycle.scope.setdefault("extensions", {})[EXTENSION] = DirectIO(self.transport, cycle)
        super()._start_asgi_task(cycle, app)
