"""gunicorn's threaded worker, made to survive that no more connections can be accepted.

As it comes, the process ends when a file or memory is missing for one more connection, and takes all its
uploads along.
"""

from __future__ import annotations

import errno
import socket
import time
from contextlib import suppress
from typing import Any, Final

from gunicorn.workers.gthread import ThreadWorker

#: What accept(2) says of a listening socket that is of no use any more; all else passes.
_BROKEN_LISTENER: Final = (errno.EBADF, errno.EFAULT, errno.EINVAL, errno.ENOTSOCK)
#: Seconds in which nothing is accepted after accepting failed.
_PAUSE: Final = 0.1
#: Seconds between two lines of the log about it.
_LOG_PAUSE: Final = 60.0


class AcceptingWorker(ThreadWorker):  # type: ignore[misc]
    """Accepts nothing for a moment when accepting fails; open connections go on meanwhile."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._accept_from = self._log_from = 0.0

    def next_connection(self, listener: Any) -> tuple[socket.socket, Any] | None:
        """Accepts a connection.

        Returns: the socket and the client's address, or None when there is none or it cannot be accepted.

        Raises:
            OSError: the listening socket is of no use any more.
        """
        try:
            accepted: tuple[socket.socket, Any] = listener.accept()
        except BlockingIOError:
            return None
        except OSError as error:
            if error.errno in _BROKEN_LISTENER:
                raise
            self.pause_accepting(error)
            return None
        return accepted

    def pause_accepting(self, error: OSError) -> None:
        """Leaves the listening sockets out for a moment: they stay readable, so the main loop would spin."""
        now = time.monotonic()
        self._accept_from = now + _PAUSE
        self.set_accept_enabled(False)
        if now >= self._log_from:
            self._log_from = now + _LOG_PAUSE
            self.log.warning(
                "No connection can be accepted (%s). Open ones go on. connections=%d",
                error.strerror,
                self.nr_conns,
            )

    def set_accept_enabled(self, enabled: bool) -> None:
        """Called by the main loop whenever what it wants differs from what is."""
        try:
            super().set_accept_enabled(enabled and time.monotonic() >= self._accept_from)
        except OSError as error:  # the poller has limits too: epoll_ctl(2)
            for listener in self.sockets:
                with suppress(KeyError):
                    self.poller.unregister(listener)
            self.pause_accepting(error)

    def wait_for_and_dispatch_events(self, timeout: float) -> None:
        pause = self._accept_from - time.monotonic()
        super().wait_for_and_dispatch_events(min(timeout, pause) if pause > 0 else timeout)
