"""Explains redis-py's errors to the operator."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import redis

#: redis-py converts most errors to its own. A name that cannot be encoded and a reply that cannot be parsed
#: raise ValueError.
FAULTS: Final = (redis.RedisError, OSError, ValueError)

_WORDS: Final = 200

#: What is wrong, and what to do.
_Words = tuple[str, str]

_NO_RIGHT: Final = (
    "Redis refuses a command or a key to the user in REDIS_URL",
    "docs/deploying.md has the ACL it needs",
)
_NO_ENTRY: Final = ("Redis refuses the user or password in REDIS_URL", "")
#: Parts of a server's error messages, in lower case, with the explanation. Codes do not suffice: before Redis
#: 7, an error in a script has the code ERR.
_REFUSALS: Final[tuple[tuple[str, _Words], ...]] = (
    ("maxmemory", ("Redis has reached its maxmemory", "Give it more, or remove other data")),
    ("read only replica", ("Redis is a read-only replica", "Set REDIS_URL to the primary")),
    ("permissions", _NO_RIGHT),
    ("user executing the script", _NO_RIGHT),
    ("password", _NO_ENTRY),
    ("authentication required", _NO_ENTRY),
    ("loading the dataset", ("Redis is loading its data", "Wait until it is done")),
    (
        "wrongtype",
        (
            "A key of the queue holds another type of value",
            "Delete the keys dramatiq*; jobs are announced again",
        ),
    ),
    ("misconf", ("Redis cannot save its data and refuses writes", "Look at its disk")),
)
_OTHERS: Final[tuple[tuple[type[Exception], _Words], ...]] = (
    (redis.TimeoutError, ("Redis does not answer in time", "")),
    (
        redis.InvalidResponse,
        (
            "The server in REDIS_URL does not speak Redis's protocol",
            "A server with TLS needs rediss://",
        ),
    ),
    (redis.ConnectionError, ("Redis cannot be reached", "")),
)
_NO_HANDSHAKE: Final = "The TLS handshake with Redis failed"
_UNKNOWN: Final = ("Redis cannot be used", "")


@dataclass(frozen=True)
class QueueFault:
    """An error of the queue, for the operator.

    Attributes:
        what: what is wrong, a sentence without its end.
        remedy: what to do, one or more sentences without the end of the last; empty if `what` says it.
        reported: the message of the server or the system, in one line. It can name the host.
    """

    what: str
    remedy: str
    reported: str


def explain(error: BaseException) -> str:
    """Returns one line: what is wrong, what to do, and the server's message.

    For logs and operators only: the server's message can name its host.
    """
    fault = fault_of(error)
    if fault.what == _NO_HANDSHAKE:
        return f"{fault.what} ({fault.reported}). {fault.remedy}."
    words = ". ".join(filter(None, (fault.what, fault.remedy)))
    return f"{words} ({fault.reported})."


def fault_of(error: BaseException) -> QueueFault:
    """Returns what an error of redis-py means."""
    tls = next((found for cause in _chain(error) if (found := _tls(cause))), None)
    if tls:
        return tls
    said = str(error).lower()
    refusals = (words for mark, words in _REFUSALS if mark in said)
    others = (words for kind, words in _OTHERS if isinstance(error, kind))
    what, remedy = next(refusals, None) or next(others, _UNKNOWN)
    return QueueFault(what, remedy, _one_line(error))


def _tls(error: BaseException) -> QueueFault | None:
    """Returns the explanation of a failed TLS handshake; None for any other error."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return QueueFault(
            _NO_HANDSHAKE,
            "Add ssl_ca_certs=FILE to REDIS_URL, or set VIDEOQUEUE_REDIS_TLS=no-verify when the platform's "
            "certificate is self-signed",
            _one_line(error.verify_message),
        )
    # A server without TLS waits for the rest of a command, so the handshake times out.
    silent = isinstance(error, TimeoutError) and "handshake" in str(error)
    if silent or isinstance(error, ssl.SSLError):
        return QueueFault(
            _NO_HANDSHAKE,
            "Look whether the server at REDIS_URL speaks TLS (rediss://) or not (redis://), and whether it "
            "asks for a certificate of the client (ssl_certfile and ssl_keyfile in REDIS_URL)",
            _one_line(error),
        )
    return None


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """Yields the error and those that it was raised from, the last one first."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _one_line(words: object) -> str:
    text = " ".join(str(words).split()).rstrip(".")
    return text if len(text) <= _WORDS else f"{text[:_WORDS]}..."
