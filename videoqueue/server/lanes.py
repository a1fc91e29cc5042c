"""Requests that take as long as their client likes, and the slots that they wait for without a thread."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, Generic, TypeVar
from urllib.parse import unquote_to_bytes

T = TypeVar("T")

#: The name in the WSGI environment of the reason why the server refuses a request, if it does.
REFUSAL: Final = "videoqueue.refusal"


def limit_reached(what: str, limit: int, setting: str) -> str:
    """Returns the message for a client that came when a limit was reached.

    Args:
        what: what is limited, such as "uploads of one process".
        limit: how many of them there may be at the same time.
        setting: the name of the setting that holds the limit.
    """
    return (
        f"The limit of {what} at the same time is {limit} ({setting}), and it is reached. Try again shortly."
    )


class Pattern:
    """A method and a path in which `*` stands for any one segment that is not empty."""

    def __init__(self, text: str) -> None:
        method, path = text.encode().split(b" ")
        self._method, self._segments = method, path.split(b"/")

    def matches(self, method: bytes, segments: Sequence[bytes]) -> bool:
        """Returns whether a request with this method and these segments of its path matches."""
        return (
            method == self._method
            and len(segments) == len(self._segments)
            and all(map(_fits, self._segments, segments))
        )


def _fits(own: bytes, segment: bytes) -> bool:
    return segment != b"" if own == b"*" else segment == own


def requested(head: bytes) -> tuple[bytes, list[bytes]]:
    """Returns the method and the decoded segments of the path that a request head names."""
    method, _, rest = head.lstrip(b"\r\n").partition(b"\r\n")[0].partition(b" ")
    target = rest.partition(b" ")[0]
    if not target.startswith(b"/"):  # http://host/path: RFC 9112 section 3.2.2
        target = b"/" + target.partition(b"://")[2].partition(b"/")[2]
    path = target.partition(b"?")[0].partition(b"#")[0]
    return method, unquote_to_bytes(path).split(b"/")


@dataclass(frozen=True)
class _Waiting(Generic[T]):
    request: T
    address: str | None
    until: float


@dataclass
class Lane(Generic[T]):
    """The requests of some patterns: at most `slots` are served at once, of one address at most `share`.

    The others wait. A free slot goes to the address that has the fewest, and there to the request that came
    first. A request whose address is unknown counts for no share. Used by one thread.

    Attributes:
        patterns: the requests of this lane.
        slots: how many are served at once.
        share: how many of one address are served at once.
        what: what they are, such as "uploads".
        settings: the names of the settings that hold `slots` and `share`.
        streams: whether their responses may be too long to be kept in memory.
    """

    patterns: Sequence[Pattern]
    slots: int
    share: int
    what: str
    settings: tuple[str, str]
    streams: bool = False
    _served: int = 0
    _held: Counter[str | None] = field(default_factory=Counter)
    _waiting: list[_Waiting[T]] = field(default_factory=list)

    def matches(self, method: bytes, segments: Sequence[bytes]) -> bool:
        """Returns whether a request with this method and these segments of its path is of this lane."""
        return any(pattern.matches(method, segments) for pattern in self.patterns)

    def enter(self, request: T, address: str | None, wait_seconds: float) -> Callable[[], None] | None:
        """Acquires a slot for the request, or lets it wait for at most `wait_seconds`.

        Returns:
            The release function of the slot, to be called once; None if the request waits.
        """
        if self._is_free(address):  # whoever waits could not use the slot
            return self._acquire(address)
        self._waiting.append(_Waiting(request, address, time.monotonic() + wait_seconds))
        return None

    def admitted(self) -> Iterator[tuple[T, Callable[[], None]]]:
        """Yields each waiting request for which a slot is free, with the release function of the slot."""
        while candidates := [waiting for waiting in self._waiting if self._is_free(waiting.address)]:
            chosen = min(candidates, key=lambda waiting: self._held[waiting.address])
            self._waiting.remove(chosen)
            yield chosen.request, self._acquire(chosen.address)

    def overdue(self) -> Iterator[tuple[T, str]]:
        """Yields each request that has waited too long, with the reason, and forgets it."""
        now = time.monotonic()
        while self._waiting and self._waiting[0].until < now:
            yield self._refused()

    def give_up(self) -> Iterator[tuple[T, str]]:
        """Yields the request that has waited longest, if any, with the reason, and forgets it."""
        if self._waiting:
            yield self._refused()

    def _refused(self) -> tuple[T, str]:
        waiting = self._waiting.pop(0)
        setting, share_setting = self.settings
        if waiting.address is not None and self._held[waiting.address] >= self.share < self.slots:
            return waiting.request, limit_reached(f"{self.what} of one address", self.share, share_setting)
        return waiting.request, limit_reached(f"{self.what} of one process", self.slots, setting)

    def _is_free(self, address: str | None) -> bool:
        has_share = address is None or self._held[address] < self.share
        return has_share and self._served < self.slots

    def _acquire(self, address: str | None) -> Callable[[], None]:
        self._served += 1
        self._held[address] += 1

        def release() -> None:
            self._served -= 1
            self._held[address] -= 1
            if not self._held[address]:
                del self._held[address]

        return release
