"""The connections of the TCP proxy, and how one of them can fail."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from dataclasses import dataclass

#: Bytes that are read at once.
PIECE = 64 * 1024


@dataclass(frozen=True)
class Fault:
    """What happens to one connection. With `response`, the server is not asked: this is the answer.

    Otherwise the connection ends after so many bytes of the request, or of the response; with `gently` as
    by a peer that closes it, else by a reset. After 0 bytes of the response, the server has done its work.
    """

    request: int | None = None
    response_after: int | None = None
    gently: bool = False
    response: bytes = b""


class Pair:
    """A client's connection and the one to the server that belongs to it."""

    def __init__(self, client: asyncio.StreamWriter, server: asyncio.StreamWriter, fault: Fault) -> None:
        self._client, self._server = client, server
        self.fault = fault
        self.eaten = False
        self.trapped = False

    def close(self) -> None:
        self._client.close()
        self._server.close()

    async def end(self, *, replies: bool) -> None:
        """Ends as the fault says."""
        if not self.fault.gently:
            self.reset()
        elif replies:
            self.close()
        else:
            self._server.write_eof()

    def reset(self) -> None:
        reset(self._client)
        reset(self._server)


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, response: bytes) -> None:
    """Sends the response when the head of the request is there, and reads what still arrives."""
    with contextlib.suppress(OSError, asyncio.IncompleteReadError):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(response)
        writer.write_eof()
        while await reader.read(PIECE):
            pass
    writer.close()


def reset(writer: asyncio.StreamWriter) -> None:
    """Ends the connection as a crashed peer does: no goodbye, and what is on its way is lost."""
    connection = None
    with contextlib.suppress(AttributeError):  # asyncio's TLS transport has none once it is closed
        connection = writer.get_extra_info("socket")
    if connection is not None and connection.family != socket.AF_UNIX:
        with contextlib.suppress(OSError):
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
