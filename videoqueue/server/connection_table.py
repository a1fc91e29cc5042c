"""The open connections of a process: how many each address has, and which of them are idle."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import Generic, TypeVar

T = TypeVar("T")


class ConnectionTable(Generic[T]):
    """Connections with the addresses they come from; every method takes constant time. Used by one thread.

    A connection is idle while no thread serves it and no request of it waits. The address is None where
    connections are not told apart.
    """

    def __init__(self) -> None:
        self._addresses: dict[T, str | None] = {}
        self._counts: Counter[str | None] = Counter()
        # Dictionaries keep their order: the longest idle connection is the first.
        self._idle: dict[T, None] = {}
        self._idle_of: defaultdict[str | None, dict[T, None]] = defaultdict(dict)

    def opened(self, conn: T, address: str | None) -> None:
        """Adds a connection, which is not idle."""
        self._addresses[conn] = address
        self._counts[address] += 1

    def closed(self, conn: T) -> None:
        """Removes a connection, if it has not been removed."""
        self.busy(conn)
        if conn in self._addresses:
            address = self._addresses.pop(conn)
            self._counts[address] -= 1
            if not self._counts[address]:
                del self._counts[address]

    def idle(self, conn: T) -> None:
        """Notes that the connection is idle from now on."""
        self.busy(conn)
        self._idle[conn] = None
        self._idle_of[self._addresses.get(conn)][conn] = None

    def busy(self, conn: T) -> None:
        """Notes that the connection is not idle."""
        if conn not in self._idle:
            return
        del self._idle[conn]
        address = self._addresses.get(conn)
        own = self._idle_of[address]
        del own[conn]
        if not own:
            del self._idle_of[address]

    def count(self, address: str | None) -> int:
        """Returns the number of open connections of an address."""
        return self._counts[address]

    def longest_idle(self) -> T | None:
        """Returns the connection that has been idle for longest; None if no connection is idle."""
        return next(iter(self._idle), None)

    def longest_idle_of(self, address: str | None) -> T | None:
        """Returns the connection of the address that has been idle for longest; None if there is none."""
        return next(iter(self._idle_of.get(address, ())), None)
