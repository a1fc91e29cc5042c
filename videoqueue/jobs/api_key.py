"""An API key: its text, which the client has, and its row, which the database has.

The text is `vq_<id>_<secret>`. The id, 12 characters of base32, is public: it is in lists, rows and logs. The
secret has 256 random bits in base62, so it can be neither guessed nor found from its SHA-256.
"""

from __future__ import annotations

import base64
import hashlib
import re
import secrets
import string
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

import sqlalchemy as sa

#: What a key may do. `submit`: submit, read, retry and delete jobs of its owner. `read`: read them.
#: `metrics`: read counts of the service, and no jobs. `admin`: everything, for the jobs of all owners.
Scope: TypeAlias = Literal["submit", "read", "metrics", "admin"]
SCOPES: Final[tuple[Scope, ...]] = ("submit", "read", "metrics", "admin")

_TOKEN: Final = re.compile(r"vq_([a-z2-7]{12})_([0-9A-Za-z]{43})")
_BASE62: Final = string.digits + string.ascii_uppercase + string.ascii_lowercase
_SECRET_BITS: Final = 256
_SECRET_LENGTH: Final = 43  # 62 ** 43 > 2 ** 256
#: Compared with the secret of an unknown key, so that it takes as long as that of a known one.
NO_KEY: Final = hashlib.sha256(b"").hexdigest()


@dataclass(frozen=True, kw_only=True)
class ApiKey:
    """A row of the table `api_key`, which documents each column (`videoqueue.jobs.tables`)."""

    key_id: str
    owner: str
    scopes: frozenset[Scope]
    created_at: int
    expires_at: int | None
    revoked_at: int | None
    last_used_at: int | None
    replaced_by: str | None

    def state(self, time: int) -> Literal["valid", "expired", "revoked"]:
        """Returns the state of the key at that time."""
        if self.revoked_at is not None:
            return "revoked"
        return "expired" if self.expires_at is not None and self.expires_at <= time else "valid"


@dataclass(frozen=True)
class Checked:
    """A key whose secret matched, and the database's time of the check."""

    key: ApiKey
    time: int


def split_token(token: str) -> tuple[str, str] | None:
    """Returns the id and the secret of a key, or None if it does not have the format of a key."""
    match = _TOKEN.fullmatch(token)
    return None if match is None else (match[1], match[2])


def new_token() -> str:
    """Returns the text of a new key."""
    key_id = base64.b32encode(secrets.token_bytes(8))[:12].decode().lower()
    return f"vq_{key_id}_{_random_secret()}"


def _random_secret() -> str:
    number = secrets.randbits(_SECRET_BITS)
    digits = []
    for _ in range(_SECRET_LENGTH):
        number, digit = divmod(number, len(_BASE62))
        digits.append(_BASE62[digit])
    return "".join(digits)


def hashed(secret: str) -> str:
    """Returns what is stored of a secret: its SHA-256, in hexadecimal."""
    return hashlib.sha256(secret.encode()).hexdigest()


def key_of(row: sa.Row[tuple[object, ...]]) -> ApiKey:
    """Returns the key in a row of the table."""
    values = dict(row._mapping)
    values.pop("secret_sha256", None)
    known = frozenset(scope for scope in SCOPES if scope in values["scopes"].split(","))
    return ApiKey(**values | {"scopes": known})


def joined(scopes: frozenset[Scope]) -> str:
    """Returns scopes as a row has them."""
    return ",".join(sorted(scopes))
