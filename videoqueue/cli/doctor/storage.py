"""Checks the storage by what the service does with a video, on an object of its own."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Final

from videoqueue.cli.doctor.findings import Examination, Finding, failed, not_checked, ok, warning
from videoqueue.errors import SettingsError, VideoqueueError

if TYPE_CHECKING:
    from pathlib import Path

    from videoqueue.storage import ObjectStorage
    from videoqueue.storage.s3 import S3Storage

_S3: Final = "docs/deploying.md#s3"
_FILES: Final = "docs/deploying.md#isolation-from-other-users-and-processes"
_CONTENT: Final = b"videoqueue doctor"
#: A larger difference delays or hastens the removal of orphans; S3 refuses requests from 15 minutes on.
_CLOCK_SECONDS: Final = 60.0

#: Parts of what S3, boto3 or the system reports, with what to do.
_REMEDIES: Final = (
    (("RequestTimeTooSkewed",), "Set the clock of this machine (NTP)."),
    (("NoSuchBucket",), "Create the bucket, or correct it in VIDEOQUEUE_STORAGE_URL."),
    (
        ("InvalidAccessKeyId", "SignatureDoesNotMatch", "Credentials", "Token"),
        "Correct AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or the role of this machine.",
    ),
    (("PermanentRedirect", "AuthorizationHeader", "IllegalLocation"), "Correct AWS_REGION."),
    (("AccessDenied", "HTTP 403"), "Grant the user the rights that the page lists."),
    (("SSL", "certificate"), "Set AWS_CA_BUNDLE to the file of the certificate authority."),
    (("SlowDown", "HTTP 5"), "Wait until the storage has recovered; jobs are retried."),
    (("ENOSPC", "EDQUOT", "Full"), "Free space, or use a larger disk."),
    (("EACCES", "EPERM"), "Run this command as the user of the service, or give it the folder (chown)."),
    (("EROFS",), "Mount the volume writable."),
)
_ELSE_S3: Final = "Correct AWS_ENDPOINT_URL_S3 and AWS_REGION, or start the storage."
_ELSE_FOLDER: Final = "Mount the volume, or correct VIDEOQUEUE_STORAGE_URL."


def check_storage(examination: Examination) -> Iterator[Finding]:
    """Yields what the storage refuses, or that a video can be stored, read, listed and deleted."""
    from videoqueue.services import build_storage

    if "VIDEOQUEUE_STORAGE_URL" in examination.invalid:
        yield not_checked("storage", "VIDEOQUEUE_STORAGE_URL is invalid", page="docs/settings.md")
        return
    try:
        examination.settings.require_shared_storage()
        storage = build_storage(examination.settings)
    except SettingsError as error:
        yield failed("storage", examination.masked(str(error)), "Correct the variable that it names.", _S3)
        return
    if storage.local_folder and (obstacle := _obstacle(storage.local_folder)):
        yield obstacle
        return
    if faults := list(_refused(storage, examination)):
        yield _refusal(faults, is_folder=storage.local_folder is not None)
        return
    if storage.local_folder:
        yield ok("storage", f"Videos can be stored, read, listed and deleted in {storage.local_folder}.")
        return
    from videoqueue.storage.s3 import S3Storage

    assert isinstance(storage, S3Storage)
    yield from _particular_to_s3(storage)


def _obstacle(folder: Path) -> Finding | None:
    """Returns why nothing must be stored in the folder by this user; None if it may."""
    try:
        owner = folder.stat().st_uid
    except FileNotFoundError:
        return warning(
            "storage",
            f"The folder {folder} does not exist yet.",
            "The service makes it for the first video. If there are videos already, mount the volume or "
            "correct VIDEOQUEUE_STORAGE_URL or VIDEOQUEUE_DATA_DIR.",
            _FILES,
        )
    except OSError:
        return None  # reported by the first attempt to store something
    if owner == os.geteuid():
        return None
    return not_checked(
        "storage",
        f"{folder} belongs to another user",
        f"Run this command as the user of the service, whose id is {owner}.",
        _FILES,
    )


def _refused(storage: ObjectStorage, examination: Examination) -> Iterator[tuple[str, str]]:
    """Does what the service does with a video. Yields each step that fails, and why."""
    # The key of a video: what a killed command leaves is removed as a video without a job.
    key = f"inputs/{uuid.uuid4().hex}.mp4"
    steps: list[tuple[str, Callable[[], object]]] = [
        ("store", lambda: _store(storage, key)),
        ("find", lambda: _find(storage, key)),
        ("read", lambda: _read(storage, key)),
        ("list", lambda: next(iter(storage.list_older_than(0)), None)),
        ("delete", lambda: storage.delete(key)),
    ]
    is_stored = True
    for name, step in steps:
        if not is_stored and name in ("find", "read"):
            continue
        try:
            step()
        except (VideoqueueError, OSError) as error:
            is_stored = is_stored and name != "store"
            yield name, examination.reported(error) or str(error)


def _store(storage: ObjectStorage, key: str) -> None:
    with storage.open_writer(key) as writer:
        writer.write(_CONTENT)
        writer.commit()


def _find(storage: ObjectStorage, key: str) -> None:
    if not storage.exists(key):
        raise VideoqueueError("what was stored is not there")


def _read(storage: ObjectStorage, key: str) -> None:
    blocks = storage.open_range(key, 0, len(_CONTENT))
    try:
        if b"".join(blocks) != _CONTENT:
            raise VideoqueueError("what was read is not what was stored")
    finally:
        blocks.close()


def _refusal(faults: list[tuple[str, str]], *, is_folder: bool) -> Finding:
    by_reason: dict[str, list[str]] = {}
    for step, reason in faults:
        by_reason.setdefault(reason, []).append(step)
    reasons = "; ".join(f"{', '.join(steps)}: {reason}" for reason, steps in by_reason.items())
    remedies = (remedy for words, remedy in _REMEDIES if any(word in reasons for word in words))
    remedy = next(remedies, _ELSE_FOLDER if is_folder else _ELSE_S3)
    page = "docs/deploying.md#disk-space" if is_folder else _S3
    return failed("storage", f"A video cannot be handled ({reasons}).", remedy, page)


def _particular_to_s3(storage: S3Storage) -> Iterator[Finding]:
    ahead = storage.clock_ahead()
    if abs(ahead) > _CLOCK_SECONDS:
        words = "ahead of" if ahead > 0 else "behind"
        yield warning(
            "storage",
            f"The clock of this machine is {abs(ahead):.0f} seconds {words} that of S3. "
            "From 15 minutes on, S3 refuses all requests.",
            "Set the clock of this machine (NTP).",
            _S3,
        )
    if not storage.may_remove_stale():
        yield warning(
            "storage",
            "S3 refuses to list unfinished uploads, which killed processes leave.",
            "Grant s3:ListBucketMultipartUploads and s3:AbortMultipartUpload, or add a lifecycle rule.",
            _S3,
        )
    elif abs(ahead) <= _CLOCK_SECONDS:
        yield ok("storage", "Videos can be stored, read, listed and deleted in S3.")
