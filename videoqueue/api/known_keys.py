"""Remembers for some seconds which keys are valid, so that most requests cost no query."""

from __future__ import annotations

import hashlib
import logging
import threading
import time
from dataclasses import replace
from typing import Final

from videoqueue.causes import cause_fields
from videoqueue.errors import DatabaseUnavailableError
from videoqueue.jobs.api_key import Checked
from videoqueue.jobs.database import microseconds
from videoqueue.jobs.keys import KeyStore

logger = logging.getLogger(__name__)

#: How long a valid key is remembered; seconds. A revoked key is accepted at most so long.
REMEMBERED_SECONDS: Final = 5.0
_MAX_KEYS: Final = 1000


class KnownKeys:
    """Checks keys. A valid one is remembered for `REMEMBERED_SECONDS`, a refused one is not."""

    def __init__(self, keys: KeyStore) -> None:
        self._keys = keys
        self._lock = threading.Lock()
        #: By the SHA-256 of the key, so that the memory of this process holds no key for longer than needed.
        self._known: dict[bytes, tuple[float, Checked]] = {}
        self._any_made = False
        self._none_until = 0.0

    def check(self, token: str) -> Checked | None:
        """Returns the key that the text belongs to, as of now; None if it is no key.

        Raises:
            DatabaseUnavailableError: the key is not remembered, and cannot be looked up now.
        """
        digest = hashlib.sha256(token.encode()).digest()
        now = time.monotonic()
        with self._lock:
            at, known = self._known.get(digest, (0.0, None))
        if known is not None and now < at + REMEMBERED_SECONDS:
            return replace(known, time=known.time + microseconds(now - at))
        checked = self._keys.check(token)
        if checked is not None and checked.key.state(checked.time) == "valid":
            self._remember(digest, now, checked)
            self._note_use(checked)
        return checked

    def _remember(self, digest: bytes, now: float, checked: Checked) -> None:
        with self._lock:
            if len(self._known) >= _MAX_KEYS:
                self._known = {
                    other: entry
                    for other, entry in self._known.items()
                    if now < entry[0] + REMEMBERED_SECONDS
                }
            if len(self._known) < _MAX_KEYS:
                self._known[digest] = (now, checked)

    def _note_use(self, checked: Checked) -> None:
        try:
            self._keys.note_use(checked)
        except DatabaseUnavailableError as error:
            logger.debug("The use of a key was not noted.", extra=cause_fields(error))

    @property
    def knows_of_any(self) -> bool:
        """Returns whether this process has seen that a key was created."""
        return self._any_made

    def any_made(self, *, now: bool) -> bool:
        """Returns whether a key was ever created. That there is none is remembered, unless `now` is set.

        Raises:
            DatabaseUnavailableError: it cannot be found out now.
        """
        asked = time.monotonic()
        if not self._any_made and (now or asked >= self._none_until):
            self._any_made = self._keys.any_made()
            self._none_until = asked + REMEMBERED_SECONDS
        return self._any_made
