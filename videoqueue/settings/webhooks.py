"""Settings of webhooks: where the end of a job is told, and the secrets that sign what is sent."""

from __future__ import annotations

import base64
import binascii
import secrets
from dataclasses import dataclass
from typing import Final

from videoqueue.errors import SettingsError
from videoqueue.settings.urls import webhook_url
from videoqueue.settings.values import SECRET, setting

#: What a secret begins with, and how many bytes may follow in base64 (Standard Webhooks 1.0, "Signature
#: scheme").
SECRET_PREFIX: Final = "whsec_"  # noqa: S105 - not one itself
MIN_SECRET_BYTES: Final = 24
MAX_SECRET_BYTES: Final = 64
#: More are not sent: the header has a signature for each.
_MAX_SECRETS: Final = 5


def webhook_secrets(value: str) -> tuple[str, ...]:
    """Returns one or several secrets, which are separated by commas or spaces."""
    found = tuple(value.replace(",", " ").split())
    if not 1 <= len(found) <= _MAX_SECRETS:
        raise ValueError(f"takes 1 to {_MAX_SECRETS} secrets, separated by commas")
    for secret in found:
        signing_key(secret)
    return found


def new_webhook_secret() -> str:
    """Returns a random secret of 256 bits."""
    return SECRET_PREFIX + base64.b64encode(secrets.token_bytes(32)).decode()


def signing_key(secret: str) -> bytes:
    """Returns the bytes of a secret.

    Raises:
        ValueError: it is none; the message is the end of a sentence.
    """
    try:
        key = base64.b64decode(secret.removeprefix(SECRET_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not secret.startswith(SECRET_PREFIX) or not MIN_SECRET_BYTES <= len(key) <= MAX_SECRET_BYTES:
        raise ValueError(
            f"takes secrets that begin with {SECRET_PREFIX}, followed by {MIN_SECRET_BYTES} to "
            f"{MAX_SECRET_BYTES} bytes in base64; `videoqueue webhooks secret` prints a new one"
        )
    return key


@dataclass(frozen=True, kw_only=True)
class WebhookSettings:
    """Settings of the receiver that is told when a job has ended."""

    webhook_url: str = setting(
        "VIDEOQUEUE_WEBHOOK_URL",
        webhook_url,
        "",
        SECRET,
        "The URL that is told when a job has ended: http or https, without a user. Default: none.",
    )
    webhook_secrets: tuple[str, ...] = setting(
        "VIDEOQUEUE_WEBHOOK_SECRET",
        webhook_secrets,
        (),
        SECRET,
        "The secret that signs webhooks; `videoqueue webhooks secret` prints a new one. Several, separated "
        "by commas, all sign, so that a receiver can change from one to the next.",
    )

    def require_signed_webhooks(self) -> None:
        """Checks that no webhook is sent without a signature.

        Raises:
            SettingsError: there is a URL without a secret.
        """
        if self.webhook_url and not self.webhook_secrets:
            raise SettingsError(
                "VIDEOQUEUE_WEBHOOK_URL is set, but VIDEOQUEUE_WEBHOOK_SECRET is not: a receiver could not "
                "tell who sent a message. Set it to what `videoqueue webhooks secret` prints."
            )
