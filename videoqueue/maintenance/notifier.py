"""The thread that sends webhooks. It is not the sweeper's, so that a slow receiver cannot delay job rescue.

Every worker process has one if VIDEOQUEUE_WEBHOOK_URL is set. Several at the same time share the events.
"""

from __future__ import annotations

import json
import logging
import random
import time
from collections.abc import Sequence
from typing import Final

from sqlalchemy.engine import Engine

from videoqueue.failpoints import failpoint
from videoqueue.jobs.types import Job, rfc3339
from videoqueue.jobs.webhooks import Taken, WebhookEvents
from videoqueue.maintenance.delivery import TOTAL_SECONDS, NoResponseError, Receiver, Reply
from videoqueue.maintenance.periodic import Periodic
from videoqueue.settings import Settings
from videoqueue.settings.webhooks import signing_key

logger = logging.getLogger(__name__)

#: Seconds to the second, third ... try (Standard Webhooks 1.0, "Deliverability and reliability").
SCHEDULE: Final = tuple(
    60.0 * minutes for minutes in (5 / 60, 5, 30, 2 * 60, 5 * 60, 10 * 60, 14 * 60, 20 * 60, 24 * 60)
)
#: Each wait is longer by up to this share, so that events which failed together are not sent together.
_JITTER: Final = 0.1
#: How long a process holds an event that it has taken; seconds. A lookup of the host's name may come on top
#: of the exchange.
_HOLD_SECONDS: Final = 3 * TOTAL_SECONDS
#: The longest time between two looks for events; seconds. It is how late an end may be told.
_LOOK_SECONDS: Final = 1.0
#: The pause after a receiver that does not respond; seconds. It doubles from the first value to the second.
_FIRST_PAUSE: Final = 1.0
_LONGEST_PAUSE: Final = 60.0
#: A receiver that asks us to wait is believed up to this; seconds.
_MOST_RETRY_AFTER: Final = 3600.0
#: A pause from this on is stored, so that the other processes keep it; seconds.
_STORED_PAUSE: Final = 5.0

_GONE: Final = 410
_BUSY: Final = (429, 503)


class Notifier:
    """Sends the events of jobs that have ended, one after the other.

    A receiver that does not respond gets one event a pause, so the other events keep their tries.
    """

    def __init__(
        self,
        engine: Engine,
        settings: Settings,
        receiver: Receiver | None = None,
        schedule: Sequence[float] = SCHEDULE,
    ) -> None:
        """Connects to nothing yet.

        Args:
            engine: the database.
            settings: with the receiver's URL and the secrets.
            receiver: the receiver; by default that of the settings.
            schedule: seconds to the second, third ... try of an event.
        """
        self._events = WebhookEvents(engine)
        self._receiver = receiver or Receiver(
            settings.webhook_url, [signing_key(secret) for secret in settings.webhook_secrets]
        )
        self._schedule = schedule
        self._pause = _FIRST_PAUSE
        self._periodic = Periodic(
            "webhooks", self.notify, pause=settings.sweep_seconds, retry=settings.retry_seconds
        )

    def start(self) -> None:
        """Starts the thread."""
        logger.info("Webhooks are sent.", extra={"receiver": self._receiver.host})
        self._periodic.start()

    def stop(self) -> None:
        """Ends the thread after its current pass. An event that is being sent is sent again later."""
        self._periodic.stop()

    def notify(self) -> float:
        """Sends one event, if one is due.

        Returns:
            Seconds until the next call.

        Raises:
            DatabaseUnavailableError: what was sent may be sent again.
        """
        wait = self._events.seconds_until_due()
        if wait is None or wait > 0:
            return _LOOK_SECONDS if wait is None else max(0.01, min(wait, _LOOK_SECONDS))
        event = self._events.take(_HOLD_SECONDS)
        if event is None:
            return _LOOK_SECONDS
        try:
            reply = self._send(event.job)
        except NoResponseError as error:
            self._failed(event, str(error), self._delay(event.tries))
            pause, self._pause = self._pause, min(2 * self._pause, _LONGEST_PAUSE)
            return pause
        failpoint("webhook.sent")
        pause = self._judge(event, reply)
        if self._pause > _FIRST_PAUSE:
            self._pause = _FIRST_PAUSE
            self._events.receiver_is_back()
        return pause

    def _send(self, job: Job) -> Reply:
        return self._receiver.post(message_id(job), int(time.time()), body_of(job))

    def _judge(self, event: Taken, reply: Reply) -> float:
        """Stores the outcome. Returns the seconds until the next event may be sent."""
        again = 0.001
        if 200 <= reply.status < 300:
            self._events.accepted(event)
            return again
        delay = self._delay(event.tries)
        if reply.status in _BUSY and reply.retry_after is not None:
            again = min(max(again, reply.retry_after), _MOST_RETRY_AFTER)
            delay = None if delay is None else max(delay, again)
        self._failed(event, _why(reply.status), None if reply.status == _GONE else delay)
        if again >= _STORED_PAUSE:
            self._events.postpone(again)
        return again

    def _delay(self, tries: int) -> float | None:
        if tries > len(self._schedule):
            return None
        return self._schedule[tries - 1] * random.uniform(1, 1 + _JITTER)  # noqa: S311

    def _failed(self, event: Taken, error: str, delay: float | None) -> None:
        self._events.failed(event, error, delay)
        fields = {"job_id": event.job.job_id, "tries": event.tries, "reason": error}
        if delay is None:
            logger.error("A webhook is given up; `videoqueue webhooks retry` sends it again.", extra=fields)
        else:
            logger.warning("A webhook was not accepted.", extra=fields | {"next_in_seconds": round(delay, 1)})


def message_id(job: Job) -> str:
    """Returns the id of the job's event: the same for all tries, so that a receiver knows a repeated one."""
    return f"msg_{job.job_id.hex}"


def body_of(job: Job) -> bytes:
    """Returns the event as JSON: what the status endpoint says of the job, its owner and its error code."""
    event = {
        "type": f"job.{job.status}",
        "timestamp": rfc3339(job.finished_at or job.updated_at),
        "data": {
            "job_id": str(job.job_id),
            "status": job.status,
            "progress": job.progress,
            "created_at": rfc3339(job.created_at),
            "updated_at": rfc3339(job.updated_at),
            "error_message": job.error_message,
            "owner": job.owner,
            "error_code": job.error_code,
        },
    }
    return json.dumps(event, ensure_ascii=False, separators=(",", ":")).encode()


def _why(status: int) -> str:
    if 300 <= status < 400:
        return f"HTTP {status}: redirects are not followed; VIDEOQUEUE_WEBHOOK_URL takes the final address"
    return f"HTTP {status}: the receiver accepts no more events" if status == _GONE else f"HTTP {status}"
