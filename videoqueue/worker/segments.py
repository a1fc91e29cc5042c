"""Makes the segments of a job that has just been completed, so that nobody waits for them later."""

from __future__ import annotations

import logging
import threading
import uuid
from typing import Final

from videoqueue.causes import cause_fields
from videoqueue.errors import JobGoneError, VideoqueueError
from videoqueue.failpoints import failpoint
from videoqueue.jobs.types import ALL_OWNERS
from videoqueue.sandbox.process import Stopped
from videoqueue.services import Services

logger = logging.getLogger(__name__)

#: Segments of smaller results are made in less than 0.1 s when they are first asked for. Most jobs are
#: small, and keeping the segments would cost each of them a transaction.
MIN_RESULT_BYTES: Final = 1_000_000


def keep_segments(
    services: Services, job_id: uuid.UUID, result_bytes: int, stopping: threading.Event
) -> None:
    """Makes and keeps the segments of a completed job with large results.

    Raises nothing, because the job is completed without them: they are made when they are first asked for.

    Args:
        services: the parts of this process.
        job_id: the job.
        result_bytes: the size of its results.
        stopping: set when the worker process shuts down; the segments are then given up.
    """
    if result_bytes < MIN_RESULT_BYTES:
        return

    def check() -> None:
        if stopping.is_set():
            raise Stopped

    try:
        failpoint("worker.segments_begun")
        check()
        job = services.store.get(job_id, ALL_OWNERS)
        if job is not None:
            services.segments.of(job, ALL_OWNERS, check)
            failpoint("worker.segments_kept")
    except Stopped:
        logger.info("Segments not made: the worker stops.")
    except JobGoneError:
        logger.info("Segments not made: the job was deleted.")
    except VideoqueueError as error:
        logger.warning("Segments not made.", extra=cause_fields(error))
    except Exception:
        # The job is completed. The segments are made when they are first asked for.
        logger.exception("Making segments met a bug.")
