"""The TCP proxy of the tests passes the end of a connection on, however it ends."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.support.tcp_proxy import TcpProxy

RESET = struct.pack("ii", 1, 0)


@pytest.fixture
def both() -> Iterator[tuple[socket.socket, socket.socket]]:
    """A client that is connected through the proxy, and the server's end of its connection."""
    with ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        proxy = stack.enter_context(TcpProxy(listener.getsockname()))
        client = stack.enter_context(socket.create_connection(("127.0.0.1", proxy.port), timeout=30))
        server = stack.enter_context(listener.accept()[0])
        server.settimeout(30)
        client.sendall(b"a request")
        assert server.recv(100) == b"a request"
        yield client, server


def test_a_client_that_crashes_ends_the_connection_to_the_server(
    both: tuple[socket.socket, socket.socket],
) -> None:
    client, server = both
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    client.close()
    with pytest.raises(ConnectionResetError):
        server.recv(1)


def test_a_server_that_crashes_ends_the_connection_of_the_client(
    both: tuple[socket.socket, socket.socket],
) -> None:
    client, server = both
    server.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    server.close()
    with pytest.raises(ConnectionResetError):
        client.recv(1)


def test_a_client_that_has_sent_all_still_reads_the_response(
    both: tuple[socket.socket, socket.socket],
) -> None:
    client, server = both
    client.shutdown(socket.SHUT_WR)
    assert server.recv(1) == b""
    server.sendall(b"a response")
    server.close()
    assert client.recv(100) == b"a response"
    assert client.recv(1) == b""
