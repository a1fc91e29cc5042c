"""Settings of what keeps the data: the data folder, the database, the queue and the storage."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from videoqueue.errors import SettingsError
from videoqueue.hardening import SQLITE_SUFFIXES
from videoqueue.settings.urls import database_url, redis_url, storage_url
from videoqueue.settings.values import choice, setting, text, whole


@dataclass(frozen=True, kw_only=True)
class BackendSettings:
    """Settings of data folder, database, queue and storage."""

    data_dir: str = setting(
        "VIDEOQUEUE_DATA_DIR", text, "./var", "folder", "The folder for all data that has no URL of its own."
    )
    database_url: str = setting(
        "DATABASE_URL",
        database_url,
        "",
        "URL",
        "Jobs and results: postgresql://... or sqlite:///FILE. Default: a SQLite file in the data folder.",
    )
    database_connections: int = setting(
        "VIDEOQUEUE_DATABASE_CONNECTIONS",
        whole(2),
        0,
        "connections",
        "Maximum number of database connections of one web or worker process. Default: 4; for SQLite, "
        "VIDEOQUEUE_WEB_THREADS + 2.",
    )
    redis_url: str = setting(
        "REDIS_URL",
        redis_url,
        "",
        "URL",
        "The queue: Redis or Valkey. Web and worker need it; `videoqueue up` starts its own.",
    )
    redis_tls: str = setting(
        "VIDEOQUEUE_REDIS_TLS",
        choice("verify", "no-verify"),
        "verify",
        "verify or no-verify",
        "Whether the certificate of a rediss:// server is checked. no-verify accepts a self-signed one.",
    )
    storage_url: str = setting(
        "VIDEOQUEUE_STORAGE_URL",
        storage_url,
        "",
        "URL",
        "Submitted videos: file:///FOLDER or s3://BUCKET/PREFIX. Default: a folder in the data folder.",
    )
    reserve_bytes: int | None = setting(
        "VIDEOQUEUE_RESERVE_BYTES",
        whole(0),
        None,
        "bytes",
        "Space that uploads leave free, for accepted jobs, on the volumes of the stored videos, the SQLite "
        "file and the data folder. Default: the larger of 1 GiB and 5 % of the volume, at most a quarter of "
        "it.",
    )

    @property
    def data_path(self) -> Path:
        """Returns the absolute path of the data folder."""
        return Path(self.data_dir).absolute()

    @property
    def sqlite_file(self) -> Path | None:
        """Returns the path of the SQLite file; None for another database."""
        file = unquote(self.database_url.partition("?")[0].removeprefix("sqlite:///"))
        return Path(file) if file.startswith("/") else None

    @property
    def data_paths(self) -> tuple[str, ...]:
        """Returns the files and folders on this machine that hold jobs, results, videos and keys."""
        file = self.sqlite_file
        databases = [f"{file}{suffix}" for suffix in SQLITE_SUFFIXES] if file else []
        folder = self.storage_folder
        videos = [str(folder)] if self.storage_url and folder else []
        return (str(self.data_path), *databases, *videos)

    @property
    def storage_folder(self) -> Path | None:
        """Returns the folder of the stored videos; None if they are in S3."""
        if not self.storage_url:
            return self.data_path / "objects"
        url = urlsplit(self.storage_url)
        return Path(unquote(url.path)) if url.scheme == "file" else None

    def require_durable(self) -> None:
        """Checks that no accepted job can be lost under these settings.

        Raises:
            SettingsError: there is no queue, or the database is shared and the storage is not.
        """
        if not self.redis_url:
            raise SettingsError(
                "REDIS_URL is not set: web and worker need a queue. Set it to redis://HOST:PORT, "
                "or run `videoqueue up`, which starts its own."
            )
        self.require_shared_storage()

    def require_shared_storage(self) -> None:
        """Checks that the storage is shared if the database is.

        Raises:
            SettingsError: it is not.
        """
        if self.database_url.startswith("postgresql") and not self.storage_url:
            raise SettingsError(
                "VIDEOQUEUE_STORAGE_URL is not set, but DATABASE_URL is: videos would be stored in a "
                "folder that other machines cannot read. Set it to s3://BUCKET/PREFIX, or file:///FOLDER for "
                "one machine."
            )
