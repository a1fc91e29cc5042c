"""The receiver of the service's webhooks, which fails, hangs, redirects and dies while the run lasts."""

from __future__ import annotations

import json
import random
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from tests.support.webhook_receiver import ACCEPTED, Message, TestReceiver, listening, refused
from videoqueue.settings.webhooks import new_webhook_secret


@dataclass(frozen=True)
class Told:
    """An event that arrived. `sent` is the time of its try, in seconds since 1970."""

    job_id: uuid.UUID
    status: str
    sent: int
    accepted: bool


@dataclass
class ChaosReceiver(TestReceiver):
    """Accepts everything until it is told to misbehave."""

    secret: str = field(default_factory=new_webhook_secret)
    told: list[Told] = field(default_factory=list)
    #: What arrived and was no event of the service.
    broken: list[str] = field(default_factory=list)
    #: Chooses the replies; None while it behaves.
    dice: random.Random | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def port(self) -> int:
        return urlsplit(self.url).port or 0

    def environ(self, port: int) -> dict[str, str]:
        """The settings with which a service tells this receiver through the port."""
        url = self.url.replace(f":{self.port}/", f":{port}/")
        return {"VIDEOQUEUE_WEBHOOK_URL": url, "VIDEOQUEUE_WEBHOOK_SECRET": self.secret}

    def reply(self, message: Message) -> bytes | None:
        """Returns the reply, and notes what was told."""
        with self._lock:
            reply = ACCEPTED if self.dice is None else self._any_reply(self.dice)
            try:
                event = Webhook(self.secret).verify(message.body, message.headers)
            except WebhookVerificationError as error:
                self.broken.append(f"a webhook is refused: {error}")
                return refused(400)
            data = event["data"]
            sent = int(message.headers["webhook-timestamp"])
            told = Told(uuid.UUID(data["job_id"]), data["status"], sent, reply == ACCEPTED)
            self.told.append(told)
            if event["type"] != f"job.{told.status}":
                self.broken.append(f"{told.job_id}: {event['type']} says {json.dumps(data)}")
            return reply

    def _any_reply(self, dice: random.Random) -> bytes | None:
        bad = (refused(500), refused(302, f"Location: {self.url}"), refused(429, "Retry-After: 1"), b"", None)
        return ACCEPTED if dice.random() < 0.5 else dice.choice(bad)


@contextmanager
def chaos_receiver() -> Iterator[ChaosReceiver]:
    """Starts a receiver. One that says nothing closes the connection after a second."""
    with listening(ChaosReceiver) as receiver:
        receiver.patience = 1.0
        yield receiver
