"""Renews the lease of a running job, in a thread of the worker process."""

from __future__ import annotations

import logging
import threading
import time
from contextvars import copy_context
from types import TracebackType

from videoqueue.causes import cause_fields
from videoqueue.errors import DatabaseUnavailableError, LeaseLostError, TransientError
from videoqueue.jobs.store import Claim, JobStore
from videoqueue.settings import Settings

logger = logging.getLogger(__name__)


class Lease:
    """A context manager that renews the lease. `check` raises once the lease is lost.

    The thread ends only with the context, or after an error that `check` raises.
    """

    def __init__(self, store: JobStore, claim: Claim, settings: Settings) -> None:
        self._store = store
        self._claim = claim
        self._interval = settings.renew_seconds
        self._duration = settings.lease_seconds
        self._ended = threading.Event()
        self._problem: Exception | None = None
        self._thread = threading.Thread(
            target=copy_context().run, args=(self._renew,), name=f"lease-{claim.job_id}", daemon=True
        )

    def __enter__(self) -> Lease:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()

    def check(self) -> None:
        """Returns if the lease holds.

        Raises:
            LeaseLostError: another worker owns the job now.
            DatabaseUnavailableError: the database was unavailable for as long as a lease lasts.
            TransientError: the lease could not be renewed for that long, for another reason.
        """
        if self._problem is not None:
            raise self._problem
        if not self._thread.is_alive():
            raise TransientError("The worker no longer renews its lease of the job.")

    def _renew(self) -> None:
        renewed = time.monotonic()
        while self._problem is None and not self._ended.wait(self._interval):
            asked = time.monotonic()
            failure = self._try()
            if failure is None:
                renewed = asked
            elif isinstance(failure, LeaseLostError):
                self._problem = failure
            elif time.monotonic() - renewed > self._duration:
                self._problem = _given_up(failure)

    def _try(self) -> BaseException | None:
        """Renews the lease once. Returns the error, or None."""
        try:
            self._store.renew(self._claim)
        except LeaseLostError as error:
            return error
        except TransientError as error:
            logger.warning("Lease not renewed.", extra=cause_fields(error))
            return error
        except BaseException as error:  # if the thread ended, the lease would expire
            logger.exception("Renewing a lease met a bug.")
            return error
        return None


def _given_up(failure: BaseException) -> TransientError:
    kind = DatabaseUnavailableError if isinstance(failure, DatabaseUnavailableError) else TransientError
    error = kind("The worker could not renew its lease of the job in time.")
    error.__cause__ = failure
    return error
