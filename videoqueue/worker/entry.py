"""One worker process. Dramatiq imports this module, and importing it builds the process."""

from __future__ import annotations

import videoqueue.search_path  # noqa: F401 - first: it removes the working directory from the search path

# isort: split
import errno
import logging
import os
import socket
import threading
import uuid

import dramatiq

from videoqueue import log_setup
from videoqueue.broker import RetriesLater
from videoqueue.causes import cause_fields
from videoqueue.errors import SettingsError, VideoqueueError
from videoqueue.hardening import harden
from videoqueue.maintenance.notifier import Notifier
from videoqueue.maintenance.purger import Purger
from videoqueue.maintenance.retention import Retention
from videoqueue.maintenance.sweeper import Sweeper
from videoqueue.pipeline.conformance.pipelines import check_definitions
from videoqueue.pipeline.plugin import PluginOptions
from videoqueue.pipeline.registry import PluginRegistry
from videoqueue.sandbox.probe import walls_of
from videoqueue.services import Services, build_process, build_queue
from videoqueue.settings import Settings, load_settings
from videoqueue.worker import actors
from videoqueue.worker.factory import check_memory, make_sandbox, networked, sandbox_access
from videoqueue.worker.lifecycle import Lifecycle, end_on_error
from videoqueue.worker.model_check import check_models
from videoqueue.worker.run_job import JobRunner
from videoqueue.worker.workspace import Workspace

logger = logging.getLogger(__name__)

#: Errors after which VIDEOQUEUE_DATA_DIR cannot work. A disk that is full or failing can recover.
_UNUSABLE_FOLDER = (errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.EEXIST, errno.ELOOP, errno.ENAMETOOLONG)


class WorkerProcess:
    """Broker, actor, periodic threads and work folder of one process; each thread has its own sandbox."""

    def __init__(self, services: Services, network_pipelines: frozenset[str]) -> None:
        self._services = services
        self._settings = services.settings
        self._network_pipelines = network_pipelines
        self._stopping = threading.Event()
        self._local = threading.local()
        self._workspace = Workspace(self._settings.data_path / "work")
        lifecycle = Lifecycle(
            self._stopping,
            on_start=self._start,
            on_ready=self._log_ready,
            on_stop=self._stop,
            on_stopped=self._workspace.remove,
        )
        self.broker = build_queue(self._settings, [lifecycle, RetriesLater()])
        self._name = f"{socket.gethostname()}:{os.getpid()}"
        self._sweeper = Sweeper(services.store, self.broker, self._settings, self._name)
        retention = Retention(services.store, services.storage)
        self._purger = Purger(services.engine, retention, self._settings)
        self._notifier = Notifier(services.engine, self._settings) if self._settings.webhook_url else None
        actors.declare(self.broker, self.run, self._settings.max_attempts)

    def run(self, job_id: uuid.UUID) -> float | None:
        """Runs the job. Returns the seconds until the message should be retried, or None."""
        return self._runner().run(job_id)

    def _runner(self) -> JobRunner:
        runner: JobRunner | None = getattr(self._local, "runner", None)
        if runner is None:
            sandbox = make_sandbox(self._settings, self._workspace.folder, self._network_pipelines)
            runner = JobRunner(self._services, sandbox, self._workspace.folder, self._name, self._stopping)
            self._local.runner = runner
        return runner

    def prepare_folder(self) -> None:
        """Makes the work folder, so that a wrong VIDEOQUEUE_DATA_DIR is reported at the start.

        Raises:
            SystemExit: the folder can never be used. After any other error it is tried again for each job.
        """
        try:
            self._workspace.folder()
        except OSError as error:
            if error.errno in _UNUSABLE_FOLDER:
                raise SystemExit(
                    "videoqueue: VIDEOQUEUE_DATA_DIR cannot be used: the worker cannot make its work folder "
                    f"there ({error.strerror}). It takes a folder in which the worker can write files."
                ) from None
            logger.warning("No work folder yet: no job is started without one.", extra=cause_fields(error))

    def _start(self) -> None:
        """Starts the periodic threads. Nothing here waits for database, queue or storage."""
        self._sweeper.start()
        self._purger.start()
        if self._notifier is not None:
            self._notifier.start()
        threading.Thread(target=self._check_storage, name="storage-check", daemon=True).start()

    def _log_ready(self) -> None:
        logger.info("Worker ready.", extra={"threads": self._settings.worker_threads})

    def _check_storage(self) -> None:
        """Logs a wrong bucket or missing rights before the first job needs the storage."""
        try:
            self._services.storage.check()
        except VideoqueueError as error:
            logger.warning("The storage cannot be used yet.", extra=cause_fields(error))

    def _stop(self) -> None:
        self._sweeper.stop()
        self._purger.stop()
        if self._notifier is not None:
            self._notifier.stop()


def _build() -> WorkerProcess:
    harden()
    try:
        settings = load_settings()
        log_setup.configure("worker", settings.log_level, settings.log_format)
        services = build_process(settings)
    except SettingsError as error:
        raise SystemExit(f"videoqueue: {error}") from None
    logger.info(
        "Database connections (VIDEOQUEUE_DATABASE_CONNECTIONS).",
        extra={
            "each": settings.database_connections,
            "worker_processes": settings.worker_processes,
            "sum": settings.database_connections * settings.worker_processes,
        },
    )
    _check_memory(services)
    _check_sandbox(services.settings)
    network_pipelines = _check_pipelines(services)
    process = WorkerProcess(services, network_pipelines)
    process.prepare_folder()
    return process


def _check_memory(services: Services) -> None:
    """Ends the process if every job would run out of memory."""
    try:
        check_memory(services.settings)
    except SettingsError as error:
        raise SystemExit(f"videoqueue: {error}") from None


def _check_sandbox(settings: Settings) -> None:
    """Logs what confines the children. Ends the process if a part that the operator requires is missing."""
    try:
        walls = walls_of(sandbox_access(settings))
    except SettingsError as error:
        raise SystemExit(f"videoqueue: {error}") from None
    if settings.sandbox == "off":
        logger.warning("The sandbox of the child: off (VIDEOQUEUE_SANDBOX). It has all rights of the worker.")
        return
    level = logging.WARNING if walls.missing else logging.INFO
    missing = {"missing": "; ".join(walls.missing)} if walls.missing else {}
    logger.log(level, "The sandbox of the child: %s.", walls, extra=missing)


def _check_pipelines(services: Services) -> frozenset[str]:
    """Returns the pipelines that get the network.

    Ends the process if a pipeline or a model cannot be used, with a line for each: its jobs would fail.
    """
    options = services.settings.pipeline_options
    plugin_options = PluginOptions(options.inference_threads, options.plugin_values, options.setting_names)
    registry = PluginRegistry(plugin_options)
    faults = list(map(str, check_definitions(services.pipelines, registry)))
    try:
        check_models(plugin_options)
    except SettingsError as error:
        faults += str(error).splitlines()
    if faults:
        raise SystemExit("\n".join(f"videoqueue: {fault}" for fault in faults))
    return networked(services.settings, services.pipelines, registry)


with end_on_error():
    process = _build()
dramatiq.set_broker(process.broker)
