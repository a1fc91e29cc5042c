"""gunicorn's threaded worker, changed to survive when no more connections can be accepted.

The original process ends if there is no file descriptor or memory for one more connection, and aborts all its
uploads.
"""

from __future__ import annotations

import errno
import socket
import time
from contextlib import suppress
from typing import Any, Final

from gunicorn.workers.gthread import ThreadWorker

#: Errors of accept(2) after which the listening socket is unusable; all others are temporary.
_BROKEN_LISTENER: Final = (errno.EBADF, errno.EFAULT, errno.EINVAL, errno.ENOTSOCK)
#: Seconds without accepting after a failure.
_PAUSE: Final = 0.1
#: Seconds between two log lines about it.
_LOG_PAUSE: Final = 60.0


class AcceptingWorker(ThreadWorker):  # type: ignore[misc]
    """Stops accepting for a moment after a failure; open connections continue."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._accept_from = self._log_from = 0.0

    def next_connection(self, listener: Any) -> tuple[socket.socket, Any] | None:
        """Accepts a connection.

        Returns:
            The socket and the client's address; None if there is none or it cannot be accepted.

        Raises:
            OSError: the listening socket is unusable.
        """
        try:
            accepted: tuple[socket.socket, Any] = listener.accept()
        except BlockingIOError:
            return None
        except OSError as error:
            if error.errno in _BROKEN_LISTENER:
                raise
            if error.errno != errno.EMFILE or not self.free_file():
                self.pause_accepting(error)
            return None
        return accepted

    def free_file(self) -> bool:
        """Called when the process has no free file descriptor. Returns whether one has been freed."""
        return False

    def pause_accepting(self, error: OSError) -> None:
        """Stops polling the listening sockets for a moment; they stay readable, and the loop would spin."""
        now = time.monotonic()
        self._accept_from = now + _PAUSE
        self.set_accept_enabled(False)
        if now >= self._log_from:
            self._log_from = now + _LOG_PAUSE
            self.log.warning(
                "No connection can be accepted (%s). Open ones go on.",
                error.strerror,
                extra={"connections": self.nr_conns},
            )

    def set_accept_enabled(self, enabled: bool) -> None:
        """Called by the main loop when it wants to start or stop accepting."""
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
