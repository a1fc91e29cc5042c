"""What a client waits for that sent `Expect: 100-continue`: RFC 9110 section 10.1.1."""

from __future__ import annotations

from typing import Final

from videoqueue.server.connection import BoundedSocket

_CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"


class Expectation:
    """The wait of a client for the word to send its body.

    The client gets the word when the body is read for the first time. A response in front of that tells it
    that nobody wants the body.

    Attributes:
        waits: whether the client still waits.
    """

    def __init__(self, connection: BoundedSocket, waits: bool) -> None:
        self._connection = connection
        self.waits = waits

    def meet(self) -> None:
        """Tells a client that waits to send the body. Call it in front of each read.

        Raises:
            OSError: the connection is broken.
        """
        if self.waits:
            self.waits = False
            self._connection.sendall(_CONTINUE)
