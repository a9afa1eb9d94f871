"""Objects over a socket between the server's process and the engine's: a length, then a pickle."""

import pickle
import socket
import struct
from typing import Any


HEADER = struct.Struct("!Q")


def pack(value: Any) -> bytes:
    """An object as it travels."""
    body = pickle.dumps(value, protocol=pickle.HIGHEST_PROTOCOL)
    return HEADER.pack(len(body)) + body


class Wire:
    """One end, used blockingly.

    Args:
        end (`socket.socket`): of a pair.
    """

    def __init__(self, end: socket.socket):
        self.end = end

    def send(self, value: Any) -> None:
        """Sends an object."""
        self.end.sendall(pack(value))

    def receive(self) -> Any:
        """Raises: `EOFError`: the other end is closed."""
        (length,) = HEADER.unpack(self._read(HEADER.size))
        return pickle.loads(self._read(length))

    def _read(self, length: int) -> bytes:
        found = bytearray()
        while len(found) < length:
            part = self.end.recv(min(length - len(found), 1 << 20))
            if not part:
                raise EOFError
            found += part
        return bytes(found)
