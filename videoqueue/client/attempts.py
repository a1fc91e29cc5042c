"""When a request is sent again, and after how long."""

from __future__ import annotations

import logging
import random
import time
from dataclasses import dataclass
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Final

from videoqueue.client.errors import ClientError

logger = logging.getLogger("videoqueue.client")

#: Seconds of the first pause, and of the longest one that the service did not ask for.
_FIRST: Final = 0.5
_LONGEST: Final = 20.0
#: Seconds that the last attempt has, which begins when the time is over.
_LAST: Final = 1.0


@dataclass(frozen=True)
class Failure:
    """An attempt that failed.

    Args:
        error: what the caller gets if there is no other attempt.
        again: whether another attempt can succeed.
        after: seconds that the service wants to be left alone.
        maybe_done: whether the service may have carried the request out.
    """

    error: ClientError
    again: bool
    after: float | None = None
    maybe_done: bool = False


class Attempts:
    """The attempts of one request.

    Args:
        seconds: from the first failure on, no attempt begins later than this.
        until: a time of `time.monotonic` after which none begins either; the last one begins then.
    """

    def __init__(self, seconds: float, until: float | None) -> None:
        self._seconds = seconds
        self._until = until
        self._end: float | None = None
        self._count = 0
        self._maybe_done = False

    def remaining(self, timeout: float) -> float:
        """Returns how many of these seconds an attempt that begins now has."""
        return timeout if self._until is None else min(timeout, max(_LAST, self._until - time.monotonic()))

    def pause(self, failure: Failure) -> None:
        """Waits before the next attempt.

        Raises:
            ClientError: the error of the failure, if there is no next attempt.
        """
        now = time.monotonic()
        self._maybe_done = self._maybe_done or failure.maybe_done
        failure.error.maybe_done = self._maybe_done
        if self._end is None:
            self._end = now + self._seconds
        delay = self._delay(failure.after)
        if self._until is not None and now < self._until < now + delay:
            delay = self._until - now
        if not failure.again or now + delay > self._end or (self._until is not None and now >= self._until):
            raise failure.error
        logger.warning("%s Trying again in %.1f s.", failure.error.detail, delay)
        time.sleep(delay)

    def _delay(self, after: float | None) -> float:
        # Jitter, so that clients that failed together do not come back together.
        grown = min(_LONGEST, _FIRST * 2.0**self._count) * random.uniform(0.5, 1)  # noqa: S311 - no secret
        self._count = min(self._count + 1, 10)
        return grown if after is None else max(grown, after * random.uniform(1, 1.1))  # noqa: S311


def retry_after(value: str | None) -> float | None:
    """Returns the seconds in a header Retry-After (RFC 9110, section 10.2.3); None if there are none."""
    if value is None:
        return None
    text = value.strip()
    if text.isascii() and text.isdigit():
        return float(text[:9])
    try:
        moment: datetime = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    return max(0.0, moment.timestamp() - time.time())
