"""The client of S3, made when there are credentials to make it with."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from boto3.session import Session
from botocore.config import Config

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_CONFIG = Config(
    connect_timeout=3,  # seconds
    read_timeout=20,
    retries={"mode": "standard", "total_max_attempts": 3},
    max_pool_connections=32,
    signature_version="s3v4",
    # Look-alikes refuse the checksums that boto3 adds by default.
    request_checksum_calculation="when_required",
    response_checksum_validation="when_required",
)
_PATH_STYLE = Config(s3={"addressing_style": "path"})


class ClientSource:
    """Makes one client and keeps it; threads share it, as boto3 allows.

    A client made without credentials never gets any. On AWS a service of the machine or the container hands
    them out, and it may be away when the process starts: such a client is not kept.
    """

    def __init__(self) -> None:
        self._kept: S3Client | None = None

    def get(self) -> S3Client:
        """Returns the client. Without credentials its calls raise NoCredentialsError.

        Raises:
            BotoCoreError, ValueError: AWS's configuration cannot be used.
            CredentialRetrievalError: the service that hands out credentials cannot be used now.
        """
        kept = self._kept
        if kept is not None:
            return kept
        session = Session()  # two threads may do this at once: one of their clients is kept
        client = _make(session)
        if session.get_credentials() is not None:
            self._kept = client
        return client


def _make(session: Session) -> S3Client:
    client = session.client("s3", config=_CONFIG)
    return session.client("s3", config=_CONFIG.merge(_PATH_STYLE)) if _wants_path_style(client) else client


def _wants_path_style(client: S3Client) -> bool:
    """Whether to write http://host/bucket/key.

    boto3 does so for an IP address only. Self-hosted look-alikes seldom have a name bucket.host, so every
    endpoint outside AWS gets it, unless ~/.aws/config chooses an `addressing_style`.
    """
    host = urlsplit(client.meta.endpoint_url).hostname or ""
    chosen = (getattr(client.meta.config, "s3", None) or {}).get("addressing_style")
    return chosen is None and not host.endswith((".amazonaws.com", ".amazonaws.com.cn"))
