"""The main loop of a web process, which the test turns by hand."""

from __future__ import annotations

import errno
import logging
import os
import selectors
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

from gunicorn.config import Config

from videoqueue.server.connection import Pace
from videoqueue.server.worker import BoundedThreadWorker, ServerLimits


class Poller(selectors.DefaultSelector):
    """One that takes no more clients, as when the user's watches are used up: epoll_ctl(2)."""

    full = False

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        if self.full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return super().register(fileobj, events, data)


@contextmanager
def main_loop(listener: Any, **limits: Any) -> Iterator[BoundedThreadWorker]:
    """A worker whose main loop the test turns by hand."""
    config = Config()
    log = logging.getLogger("test")
    worker = BoundedThreadWorker(0, os.getppid(), [listener], SimpleNamespace(), 30, config, log)
    worker.limits = ServerLimits(Pace(60, 1), header_seconds=60, lane_seconds=60, lanes=(), **limits)
    worker.poller = Poller()
    try:
        yield worker
    finally:
        worker.poller.close()
        listener.close()
        worker.tmp.close()
