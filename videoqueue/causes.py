"""The cause of an error as one line for the log; never for a client.

The message of an expected error is written for the user and is the same for every cause. The log also has the
report of the driver or the system: the code of an S3 error, the SQLSTATE, the name of an errno. Errors are
recognised by their attributes, so that this module imports neither boto3 nor SQLAlchemy.
"""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator
from typing import Final

from videoqueue.errors import VideoqueueError

#: Maximum length of a text, in characters; a longer one is cut.
MAX_CHARACTERS: Final = 500

#: Maximum number of errors of a chain.
_MAX_LINKS = 20

#: A URL's user and password, also where a password contains an unescaped "@".
_CREDENTIALS = re.compile(r"(\w+://)\S*@|[^\s\"'(<]+@")
_SECRET = re.compile(
    r"(?i)((?:[\w-]*(?:password|passwd|pwd|secret|token|signature|credential|access_?key)[\w-]*)\s*=\s*)"
    r"('[^']*'?|\"[^\"]*\"?|[^\s&;,]+)"
)


def cause_of(error: BaseException) -> str:
    """Returns the first foreign error behind an error, without passwords.

        cause_of(StorageUnavailableError(...))  # 'AccessDenied (GetObject, HTTP 403): Access Denied'

    Returns:
        One line of at most `MAX_CHARACTERS`; "" if there is no foreign error.
    """
    foreign = [link for link in _chain(error) if not isinstance(link, VideoqueueError)]
    if not foreign:
        return ""
    text = _describe(foreign[0])
    for link in foreign[1:]:
        name = _errno_name(link)
        if name and name not in text:
            text = f"{text} [{name}]"
    return one_line(text)


def cause_fields(error: BaseException) -> dict[str, str]:
    """Returns the fields `reason` (the error's message) and `cause` of a log line, for `extra=`.

    `cause` is left out when there is none, or when the message repeats it.
    """
    cause = cause_of(error)
    if not isinstance(error, VideoqueueError):
        return {"reason": cause}
    reason = one_line(str(error))
    said = cause.partition(": ")[2].rstrip(".")
    repeated = bool(said) and said in reason
    return {"reason": reason} | ({"cause": cause} if cause and not repeated else {})


def one_line(text: str) -> str:
    """Returns the text as one printable line without passwords, of at most `MAX_CHARACTERS`."""
    # Four times as many characters, because a password may be longer than its replacement.
    printable = "".join(char if char.isprintable() else " " for char in text[: 4 * MAX_CHARACTERS])
    line = _masked(" ".join(printable.split()))
    return line if len(line) <= MAX_CHARACTERS else f"{line[: MAX_CHARACTERS - 3]}..."


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Yields the error and its causes and contexts, the latest first."""
    link: BaseException | None = error
    seen: set[int] = set()
    while link is not None and id(link) not in seen and len(seen) < _MAX_LINKS:
        seen.add(id(link))
        wrapped = getattr(link, "orig", None)  # SQLAlchemy's errors repeat statement and values
        if isinstance(wrapped, BaseException):
            link = wrapped
            continue
        yield link
        link = link.__cause__ or (None if link.__suppress_context__ else link.__context__)


def _describe(error: BaseException) -> str:
    message = next((line for line in str(error).splitlines() if line.strip()), "")
    for label in (_s3_code(error), _sqlstate(error), _sqlite_name(error)):
        if label:
            return f"{label}: {_s3_message(error) or message}"
    if isinstance(error, OSError) and (name := _errno_name(error)):
        return f"{name}: {error.strerror}" + (f" ({error.filename})" if error.filename else "")
    return f"{type(error).__name__}: {message}" if message else type(error).__name__


def _s3_error(error: BaseException) -> dict[str, object]:
    response = getattr(error, "response", None)
    found = response.get("Error") if isinstance(response, dict) else None
    return found if isinstance(found, dict) else {}


def _s3_code(error: BaseException) -> str:
    code = _s3_error(error).get("Code")
    if not code:
        return ""
    response = getattr(error, "response", {})
    status = response.get("ResponseMetadata", {}).get("HTTPStatusCode")
    return f"{code} ({getattr(error, 'operation_name', 'S3')}, HTTP {status})"


def _s3_message(error: BaseException) -> str:
    return str(_s3_error(error).get("Message") or "")


def _sqlstate(error: BaseException) -> str:
    state = getattr(error, "sqlstate", None)
    return f"SQLSTATE {state} ({type(error).__name__})" if isinstance(state, str) else ""


def _sqlite_name(error: BaseException) -> str:
    name = getattr(error, "sqlite_errorname", None)
    return name if isinstance(name, str) else ""


def _errno_name(error: BaseException) -> str:
    number = error.errno if isinstance(error, OSError) else None
    return errno.errorcode.get(number, "") if isinstance(number, int) else ""


def _masked(text: str) -> str:
    without = _CREDENTIALS.sub(lambda found: f"{found[1] or ''}***@", text)
    return _SECRET.sub(r"\1***", without)
