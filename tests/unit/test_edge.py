"""Clients told apart by their addresses, the slots they wait for, and the connection that has to go."""

from __future__ import annotations

import io
from types import SimpleNamespace
from typing import Any

import pytest
from gunicorn.http.unreader import IterUnreader

from videoqueue.server.addresses import address_of, forwarded_for, normalized
from videoqueue.server.body import BoundedChunks, TinyChunksError
from videoqueue.server.connection_table import ConnectionTable
from videoqueue.server.expectation import Expectation
from videoqueue.server.lanes import Lane, Pattern, requested
from videoqueue.settings.edge import default_share


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("192.0.2.7:4711", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2:ffff::1", "2001:db8:1:2::/64"),
        ("[2001:db8:1:2::9]:443", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("unknown", "unknown"),
        ("x" * 5000, "x" * 64),
    ],
)
def test_an_address_is_that_of_one_customer(text: str, address: str) -> None:
    assert normalized(text) == address


def test_a_peer_on_a_unix_socket_has_no_address() -> None:
    assert address_of("") is None
    assert address_of(("192.0.2.7", 4711)) == "192.0.2.7"
    assert address_of(("2001:db8:1:2::9", 4711, 0, 0)) == "2001:db8:1:2::/64"


@pytest.mark.parametrize(
    ("lines", "proxies", "address"),
    [
        (["X-Forwarded-For: 192.0.2.7"], 1, "192.0.2.7"),
        (["x-forwarded-for: 10.0.0.1, 192.0.2.7"], 1, "192.0.2.7"),
        (["X-Forwarded-For: 192.0.2.7, 10.0.0.1"], 2, "192.0.2.7"),
        (["X-Forwarded-For: 10.0.0.1", "X-Forwarded-For: 192.0.2.7"], 1, "192.0.2.7"),
        (['X-Forwarded-For: "10.0.0.1, 192.0.2.7'], 1, "192.0.2.7"),
        (["X-Forwarded-For: 192.0.2.7"], 2, None),
        (["X-Real-IP: 192.0.2.7"], 1, None),
    ],
)
def test_only_what_trusted_proxies_wrote_names_the_client(
    lines: list[str], proxies: int, address: str | None
) -> None:
    text = "\r\n".join(["POST /video/submit HTTP/1.1", *lines, "", "X-Forwarded-For: 203.0.113.9"])
    assert forwarded_for(text.encode(), proxies) == address


@pytest.mark.parametrize(
    "target",
    [
        "/video/results/1",
        "/video/results/1?page_size=1",
        "/video/%72esults/1",
        "http://localhost/video/results/1",
        "/video/results/1#part",
    ],
)
def test_a_request_is_of_its_lane_in_whatever_form_its_address_comes(target: str) -> None:
    assert Pattern("GET /video/results/*").matches(*requested(f"GET {target} HTTP/1.1\r\n".encode()))


@pytest.mark.parametrize(
    "line",
    [
        "POST /video/results/1",
        "GET /video/results/",
        "GET /video/results",
        "GET /video/results/1/2",
        "GET",
        "",
    ],
)
def test_other_requests_are_not(line: str) -> None:
    assert not Pattern("GET /video/results/*").matches(*requested(line.encode()))


def lane(slots: int, share: int) -> Lane[str]:
    return Lane([], slots, share, "uploads", ("TOTAL", "SHARE"))


def test_one_address_leaves_a_slot_to_others() -> None:
    uploads = lane(3, 2)
    assert [uploads.enter(f"a{number}", "a", 60) is None for number in range(4)] == [False, False, True, True]
    assert uploads.enter("b0", "b", 60) is not None
    assert uploads.enter("b1", "b", 60) is None


def test_a_free_slot_goes_to_the_address_with_the_fewest_and_then_to_the_first() -> None:
    uploads = lane(3, 2)
    releases = [uploads.enter(f"a{number}", "a", 60) for number in range(4)]
    other = uploads.enter("b0", "b", 60)
    assert uploads.enter("c0", "c", 60) is None
    assert uploads.enter("c1", "c", 60) is None
    assert list(uploads.admitted()) == []
    assert other is not None
    other()
    assert [request for request, _ in uploads.admitted()] == ["c0"]
    assert releases[0] is not None
    releases[0]()
    assert [request for request, _ in uploads.admitted()] == ["a2"]


def test_a_request_without_an_address_counts_for_no_share() -> None:
    uploads = lane(3, 1)
    assert all(uploads.enter(f"{number}", None, 60) for number in range(3))
    assert uploads.enter("3", None, 60) is None


def test_who_waited_too_long_is_told_which_limit_it_was() -> None:
    uploads = lane(3, 2)
    assert uploads.enter("a0", "a", -1)
    assert uploads.enter("a1", "a", -1)
    assert uploads.enter("a2", "a", -1) is None
    ((request, reason),) = uploads.overdue()
    assert (request, "(SHARE)" in reason, "uploads of one address at the same time is 2 " in reason) == (
        "a2",
        True,
        True,
    )
    assert uploads.enter("b0", "b", -1)
    assert uploads.enter("b1", "b", -1) is None
    ((request, reason),) = uploads.overdue()
    assert (request, "(TOTAL)" in reason, "uploads of one process at the same time is 3 " in reason) == (
        "b1",
        True,
        True,
    )


def test_the_request_that_has_waited_longest_can_be_given_up() -> None:
    uploads = lane(1, 1)
    assert list(uploads.give_up()) == []
    assert [uploads.enter(name, "a", 60) is None for name in "abc"] == [False, True, True]
    assert [request for request, _ in uploads.give_up()] == ["b"]


@pytest.mark.parametrize(("slots", "share"), [(1, 1), (2, 1), (3, 2), (4, 3), (8, 6), (100, 75)])
def test_a_share_leaves_a_quarter_of_the_slots(slots: int, share: int) -> None:
    assert default_share(slots) == share


def test_the_table_knows_who_has_been_idle_for_longest() -> None:
    table: ConnectionTable[str] = ConnectionTable()
    for name in ("a1", "b1", "a2", "b2"):
        table.opened(name, name[0])
        table.idle(name)
    assert (table.count("a"), table.longest_idle(), table.longest_idle_of("b")) == (2, "a1", "b1")
    table.busy("a1")
    assert (table.longest_idle(), table.longest_idle_of("a")) == ("b1", "a2")
    table.idle("a1")
    table.closed("b1")
    table.closed("b1")
    assert (table.count("b"), table.longest_idle(), table.longest_idle_of("b")) == (1, "a2", "b2")
    for name in ("a1", "a2", "b2"):
        table.closed(name)
    assert (table.count("a"), table.longest_idle(), table.longest_idle_of("a")) == (0, None, None)


def chunked(*chunks: bytes, extension: bytes = b"") -> bytes:
    return b"".join(b"%x%b\r\n%b\r\n" % (len(chunk), extension, chunk) for chunk in chunks) + b"0\r\n\r\n"


def read_chunks(data: bytes, least_bytes: int = 64) -> bytes:
    pieces = io.BytesIO(data)
    request: Any = SimpleNamespace(limit_request_field_size=8190, max_buffer_headers=1000)
    unreader = IterUnreader(iter(lambda: pieces.read(8192), b""))
    nobody: Any = None
    reader = BoundedChunks(request, unreader, least_bytes, Expectation(nobody, waits=False))
    return b"".join(iter(lambda: bytes(reader.read(4096)), b""))


def test_a_body_of_many_tiny_chunks_is_refused() -> None:
    assert read_chunks(chunked(*[b"x"] * 10_000)) == b"x" * 10_000
    with pytest.raises(TinyChunksError):
        read_chunks(chunked(*[b"x"] * 10_200))
    assert read_chunks(chunked(*[b"x"] * 10_200), 0) == b"x" * 10_200


def test_tiny_chunks_among_large_ones_are_read() -> None:
    body = chunked(*[b"x", b"y" * 1000] * 20_000)
    assert len(read_chunks(body)) == 20_000 * 1001


def test_the_extensions_of_chunks_count_too() -> None:
    with pytest.raises(TinyChunksError):
        read_chunks(chunked(*[b"x" * 64] * 9000, extension=b";" + b"e" * 4000))
