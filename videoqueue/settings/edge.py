"""Settings that divide a web process between its clients."""

from __future__ import annotations

from dataclasses import dataclass

from videoqueue.settings.service import ServiceSettings
from videoqueue.settings.values import setting, whole


def default_share(slots: int) -> int:
    """Returns how many of the slots one address may use: all but a quarter, but at least one."""
    return max(1, slots - max(1, slots // 4))


@dataclass(frozen=True, kw_only=True)
class EdgeSettings(ServiceSettings):
    """The shares of one address, and limits on clients that do not read or send tiny chunks."""

    max_connections_per_address: int = setting(
        "VIDEOQUEUE_MAX_CONNECTIONS_PER_ADDRESS",
        whole(1),
        0,
        "connections",
        "Open connections of one address (IPv6: of a /64 network) to one web process. For a further one, the "
        "longest idle one of that address is closed. Default: half of VIDEOQUEUE_MAX_CONNECTIONS. No effect "
        "with VIDEOQUEUE_TRUSTED_PROXIES.",
    )
    max_uploads_per_address: int = setting(
        "VIDEOQUEUE_MAX_UPLOADS_PER_ADDRESS",
        whole(1),
        0,
        "requests",
        "Uploads of one address at the same time in one web process. Default: all but a quarter "
        "of VIDEOQUEUE_MAX_CONCURRENT_UPLOADS. With VIDEOQUEUE_TRUSTED_PROXIES the address is that of the "
        "client.",
    )
    max_downloads_per_address: int = setting(
        "VIDEOQUEUE_MAX_DOWNLOADS_PER_ADDRESS",
        whole(1),
        0,
        "requests",
        "Downloads of one address at the same time in one web process. Default: all but a "
        "quarter of "
        "VIDEOQUEUE_MAX_CONCURRENT_DOWNLOADS.",
    )
    send_buffer_bytes: int = setting(
        "VIDEOQUEUE_SEND_BUFFER_BYTES",
        whole(64 * 1024),
        64 * 1024**2,
        "bytes",
        "Responses of one web process that wait in memory for clients that do not read. Beyond it the "
        "connection that waits longest is closed. One response may use a 64th part.",
    )
    min_chunk_bytes: int = setting(
        "VIDEOQUEUE_MIN_CHUNK_BYTES",
        whole(0),
        64,
        "bytes",
        "Smallest average size of the chunks of an upload with Transfer-Encoding: chunked, beyond the first "
        "10,000 chunks. Smaller ones are rejected with 400; 0 for any size.",
    )
