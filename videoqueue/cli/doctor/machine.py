"""Checks what a process finds on this machine or in this container: sandbox, memory, files and disk."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from videoqueue.cli.doctor.findings import Examination, Finding, failed, not_checked, ok, size, warning
from videoqueue.cli.wording import counted
from videoqueue.errors import SettingsError, TransientError

if TYPE_CHECKING:
    from videoqueue.storage.reserve import Volume

_SANDBOX: Final = "docs/deploying.md#the-sandbox-of-the-child"
_MEMORY: Final = "docs/operations.md#size-of-a-worker"
_DISK: Final = "docs/deploying.md#disk-space"
_FILES: Final = "docs/deploying.md#isolation-from-other-users-and-processes"
#: From fewer videos on that can still be stored as files, there is a warning.
_FEW_FILES: Final = 1000


def check_sandbox(examination: Examination) -> Iterator[Finding]:
    """Yields what confines a child process here, against what VIDEOQUEUE_SANDBOX asks for."""
    from videoqueue.sandbox.probe import walls_of
    from videoqueue.worker.factory import sandbox_access

    mode = examination.settings.sandbox
    if mode == "off":
        yield warning(
            "sandbox",
            "VIDEOQUEUE_SANDBOX=off: the child that reads videos has all rights of the worker.",
            "Remove it, or set it to required.",
            _SANDBOX,
        )
        return
    try:
        walls = walls_of(replace(sandbox_access(examination.settings), mode="auto"))
    except SettingsError as error:
        yield failed("sandbox", f"It cannot be tried ({error}).", "Read the page.", _SANDBOX)
        return
    if not walls.missing:
        yield ok("sandbox", f"{walls}.")
        return
    reasons = f"{walls}: {'; '.join(walls.missing)}."
    remedy = "Use another kernel or container profile"
    if mode == "required":
        message = f"VIDEOQUEUE_SANDBOX=required, but the system has {reasons} No worker starts."
        yield failed("sandbox", message, f"{remedy}, or set VIDEOQUEUE_SANDBOX=auto.", _SANDBOX)
    else:
        yield warning("sandbox", f"The system has {reasons}", f"{remedy}.", _SANDBOX)


def check_memory(examination: Examination) -> Iterator[Finding]:
    """Yields whether a child process may use enough memory, and whether all of them fit into the machine."""
    from videoqueue.settings.capacity import default_memory, needed_memory
    from videoqueue.settings.machine import usable_memory

    settings = examination.settings
    memory, threads = settings.sandbox_memory_bytes, settings.inference_threads
    try:
        needed = needed_memory(threads, settings.own_models)
    except OSError as error:
        yield not_checked("memory", f"a model cannot be examined ({examination.reported(error)})")
        return
    usable = usable_memory()
    has = f"This container or machine has {size(usable)}. " if usable is not None else ""
    if memory < needed:
        yield failed(
            "memory",
            f"{has}A child process may use {size(memory)}, but 1080p with {counted(threads, 'thread')} needs "
            f"{size(needed)}: no worker starts.",
            f"Set VIDEOQUEUE_SANDBOX_MEMORY_BYTES to at least {needed} on a machine with enough memory, or "
            "lower VIDEOQUEUE_INFERENCE_THREADS.",
            _MEMORY,
        )
        return
    children = settings.worker_processes * settings.worker_threads
    if memory > default_memory(usable, settings.worker_processes, children) and usable is not None:
        yield warning(
            "memory",
            f"{has}{counted(children, 'child process')} of {size(memory)} may use more: the kernel then ends "
            "one of them, and its job starts again.".replace("processs", "processes"),
            "Lower or remove VIDEOQUEUE_SANDBOX_MEMORY_BYTES, or lower VIDEOQUEUE_WORKER_PROCESSES or "
            "VIDEOQUEUE_WORKER_THREADS.",
            _MEMORY,
        )
        return
    yield ok(
        "memory",
        f"{has}A child process may use {size(memory)}; 1080p with {counted(threads, 'thread')} needs "
        f"{size(needed)}.",
    )


def check_folder(examination: Examination) -> Iterator[Finding]:
    """Yields whether the data folder belongs to this user and can be written."""
    from videoqueue.hardening import require_own_folder

    folder = examination.settings.data_path
    try:
        require_own_folder(folder)
    except FileNotFoundError:
        existing = next(parent for parent in folder.parents if parent.exists())
        if os.access(existing, os.W_OK | os.X_OK):
            yield ok("data folder", f"{folder} does not exist yet; the service makes it.")
        else:
            yield _unwritable(folder, f"does not exist, and cannot be made in {existing}")
        return
    except SettingsError as error:
        yield failed("data folder", str(error), "Run this command as that user, or do what it says.", _FILES)
        return
    except OSError as error:
        yield _unwritable(folder, f"cannot be used ({examination.reported(error)})")
        return
    if not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
        yield _unwritable(folder, "cannot be written")
    else:
        yield ok("data folder", f"{folder} belongs to this user.")


def _unwritable(folder: Path, what: str) -> Finding:
    return failed(
        "data folder",
        f"{folder} {what}.",
        "Choose another VIDEOQUEUE_DATA_DIR, or give the folder to the user of the service (chown).",
        _FILES,
    )


def check_disk(examination: Examination) -> Iterator[Finding]:
    """Yields for each volume whether uploads are accepted, and whether the largest video would fit."""
    from videoqueue.services import build_reserve
    from videoqueue.storage.reserve import Volume, device_of

    settings = examination.settings
    reserve = build_reserve(settings, settings.storage_folder)
    folders = [reserve.videos] if reserve.videos else []
    uses: dict[int, list[Path]] = {}
    try:
        for folder in dict.fromkeys((*folders, *reserve.others, settings.data_path)):
            uses.setdefault(device_of(folder), []).append(folder)
        volumes = [(Volume.of(names[0]), " and ".join(map(str, names))) for names in uses.values()]
    except (TransientError, OSError) as error:
        yield failed(
            "disk",
            f"A folder cannot be examined ({examination.reported(error)}).",
            "Mount its volume.",
            _DISK,
        )
        return
    for volume, names in volumes:
        # Otherwise it has only the copies that workers make.
        takes_uploads = bool(folders or reserve.others)
        yield _space(volume, names, examination, takes_uploads=takes_uploads)
        yield from _files(volume, names, examination, takes_uploads=takes_uploads)


def _space(volume: Volume, names: str, examination: Examination, *, takes_uploads: bool) -> Finding:
    settings = examination.settings
    if not volume.has_size:
        return ok("disk", f"The file system of {names} does not report its size.")
    reserve = volume.reserve(settings.reserve_bytes)
    state = (
        f"{size(volume.free)} of {size(volume.total)} are free in {names}, and {size(reserve)} are kept free"
    )
    remedy = (
        "Use a larger disk, or free space: `videoqueue jobs purge --older-than 7 --dry-run`, then without "
        "--dry-run."
    )
    if volume.free < reserve:
        effect = "uploads get 507" if takes_uploads else "jobs may wait"
        return failed("disk", f"{state} (VIDEOQUEUE_RESERVE_BYTES): {effect}.", remedy, _DISK)
    if volume.free - reserve < settings.max_upload_bytes:
        return warning(
            "disk",
            f"{state}. VIDEOQUEUE_MAX_UPLOAD_BYTES is {size(settings.max_upload_bytes)}: no such video fits.",
            f"{remedy} Or lower VIDEOQUEUE_MAX_UPLOAD_BYTES.",
            _DISK,
        )
    return ok("disk", f"{state}.")


def _files(volume: Volume, names: str, examination: Examination, *, takes_uploads: bool) -> Iterator[Finding]:
    """Yields that few files can be made, where their number has a limit. It is independent of the space."""
    reserve = volume.reserve(examination.settings.reserve_bytes)
    kept = volume.reserved_files(reserve)
    state = (
        f"{volume.free_files} of {volume.files} files (inodes) can still be made in {names}, and {kept} are "
        "kept for accepted jobs (VIDEOQUEUE_RESERVE_BYTES)"
    )
    remedy = (
        "Remove files that are not needed, whatever their size, or use a file system with more inodes (mkfs)."
    )
    if volume.lacks_files(reserve):
        effect = "uploads get 507" if takes_uploads else "jobs may wait"
        yield failed("disk", f"{state}: {effect}.", remedy, _DISK)
    elif kept and takes_uploads and volume.free_files - kept < _FEW_FILES:
        yield warning(
            "disk", f"{state}: after {volume.free_files - kept} videos, uploads get 507.", remedy, _DISK
        )
