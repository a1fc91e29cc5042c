"""The settings under which the harness runs the service."""

from __future__ import annotations

#: Everything that waits is short, so that recovery takes a second or two and not half a minute.
QUICK = {
    "VIDEOQUEUE_LEASE_SECONDS": "1.5",
    "VIDEOQUEUE_RENEW_SECONDS": "0.3",
    "VIDEOQUEUE_SWEEP_SECONDS": "0.3",
    "VIDEOQUEUE_RETRY_SECONDS": "0.2",
    "VIDEOQUEUE_CRASH_RETRY_SECONDS": "0.1",
    "VIDEOQUEUE_CHECKPOINT_SECONDS": "0.2",
    "VIDEOQUEUE_ANNOUNCE_SECONDS": "1",
    "VIDEOQUEUE_ANNOUNCE_MAX_SECONDS": "2",
    "VIDEOQUEUE_PURGE_SECONDS": "1",
    # Never shorter than an upload may take: a video is without a job until it has arrived.
    "VIDEOQUEUE_ORPHAN_SECONDS": "120",
    "VIDEOQUEUE_STALL_TIMEOUT_SECONDS": "5",
}

#: Leases, sweeps and pauses are the defaults; every frame is committed at once, so that it can be timed.
DEFAULTS = {"VIDEOQUEUE_CHECKPOINT_SECONDS": "0.05"}

#: With keys, so that jobs have owners; each may use only one of the two workers.
OWNED = {"VIDEOQUEUE_ADMIN_KEY": "of-the-harness-" + 32 * "x", "VIDEOQUEUE_OWNER_MAX_RUNNING": "1"}

#: Always. A limit of crashes would end jobs that the harness has killed too often; it has tests of its own.
ALWAYS = {
    "VIDEOQUEUE_HOST": "127.0.0.1",
    "VIDEOQUEUE_MAX_CRASHES": "1000000",
    "VIDEOQUEUE_MAX_ATTEMPTS": "1000000",
    "VIDEOQUEUE_DEFAULT_PIPELINE": "slow",
    "VIDEOQUEUE_INFERENCE_THREADS": "1",
    "VIDEOQUEUE_WEB_THREADS": "8",
    "VIDEOQUEUE_SANDBOX_MEMORY_BYTES": str(1024**3),
}
