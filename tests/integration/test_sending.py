"""Responses that a client does not accept at once: the main loop sends them, in bounded memory."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest

from tests.support.main_loop import main_loop
from videoqueue.server.crowded import Connection
from videoqueue.server.worker import BoundedThreadWorker

#: Far more than the buffers of the system hold of a connection.
SIZE = 20_000_000


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server


@contextmanager
def respond(worker: BoundedThreadWorker, response: bytes) -> Iterator[tuple[Connection, socket.socket]]:
    """A client, and its connection when a thread is done with the response."""
    with socket.create_connection(worker.sockets[0].getsockname()) as client:
        worker.set_accept_enabled(True)
        while not worker.pending_conns:
            worker.wait_for_and_dispatch_events(60)
        conn = worker.pending_conns[0]
        worker.unpark(conn)
        conn.sock.setblocking(True)
        conn.sock.keeps_bytes = len(response)
        conn.sock.sendall(response)
        done: Future[Any] = Future()
        done.set_result(False)
        worker.finish_request(conn, done)
        yield conn, client
        if conn.queue is not None:
            worker.evict(conn)


def test_the_main_loop_sends_the_rest_and_then_closes(listener: socket.socket) -> None:
    response = bytes(range(250)) * (SIZE // 250)
    with main_loop(listener) as worker, respond(worker, response) as (conn, client):
        assert 0 < conn.sock.unsent < SIZE
        client.setblocking(False)
        said = bytearray()
        ended = False
        while not ended:
            worker.wait_for_and_dispatch_events(0.01)
            try:
                piece = client.recv(1024**2)
            except BlockingIOError:
                continue
            said += piece
            ended = not piece
        assert (bytes(said) == response, conn.sock.unsent) == (True, 0)
        client.close()
        worker.wait_for_and_dispatch_events(60)
        assert worker.nr_conns == 0


def test_a_client_that_goes_away_is_forgotten(listener: socket.socket) -> None:
    with main_loop(listener) as worker, respond(worker, bytes(SIZE)) as (_, client):
        client.close()
        worker.wait_for_and_dispatch_events(60)
        assert (worker.nr_conns, worker.table.longest_idle()) == (0, None)


def test_when_responses_fill_the_buffer_the_one_that_waits_longest_is_dropped(
    listener: socket.socket, caplog: pytest.LogCaptureFixture
) -> None:
    with main_loop(listener, send_bytes=2 * SIZE) as worker, ExitStack() as stack:
        conns = [stack.enter_context(respond(worker, bytes(SIZE)))[0] for _ in range(3)]
        assert [conn.sock.fileno() == -1 for conn in conns] == [True, False, False]
        assert worker.nr_conns == 2
    assert "VIDEOQUEUE_SEND_BUFFER_BYTES is reached" in caplog.text


def test_a_response_beyond_the_buffer_waits_for_its_client(listener: socket.socket) -> None:
    """Its thread does; the client must accept each piece in time, or is cut off."""
    with main_loop(listener) as worker, respond(worker, b"") as (conn, _):
        conn.sock.settimeout(0.1)
        conn.sock.keeps_bytes = 1000
        with pytest.raises(BrokenPipeError):
            conn.sock.sendall(bytes(SIZE))
