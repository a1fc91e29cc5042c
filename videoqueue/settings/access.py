"""Settings of access: who may use the service, and which names a browser may know it by."""

from __future__ import annotations

from dataclasses import dataclass

from videoqueue.errors import SettingsError
from videoqueue.settings.edge import EdgeSettings
from videoqueue.settings.headers import owner_header
from videoqueue.settings.urls import is_loopback
from videoqueue.settings.values import choice, host_names, secret, setting, switch, whole


@dataclass(frozen=True, kw_only=True)
class AccessSettings(EdgeSettings):
    """Settings of keys, owners and browsers."""

    auth: str = setting(
        "VIDEOQUEUE_AUTH",
        choice("auto", "required", "off"),
        "auto",
        "auto, required or off",
        "Whether requests need a key. auto: not if the service listens on loopback without trusted proxies, "
        "and no key was ever created.",
    )
    admin_key: str = setting(
        "VIDEOQUEUE_ADMIN_KEY",
        secret(32),
        "",
        "secret",
        "A key for everything and the jobs of all owners, of at least 32 characters. It is not stored.",
    )
    api_key: str = setting(
        "VIDEOQUEUE_API_KEY",
        secret(1),
        "",
        "secret",
        "The key that `videoqueue submit`, `status` and `results` send. Default: the file `api-key` in the "
        "data folder, if the service is on this machine. The service ignores it.",
    )
    owner_header: str = setting(
        "VIDEOQUEUE_OWNER_HEADER",
        owner_header,
        "",
        "header",
        "The header in which a trusted proxy names the owner. Every request then has to come through it.",
    )
    allowed_hosts: tuple[str, ...] = setting(
        "VIDEOQUEUE_ALLOWED_HOSTS",
        host_names,
        (),
        "names",
        "The names that the header Host may have, separated by commas; others get 421. Default: any if keys "
        "are required, otherwise only names of loopback.",
    )
    page: bool = setting(
        "VIDEOQUEUE_PAGE",
        switch,
        True,
        "on or off",
        "Whether the service has a page for people at the address /.",
    )

    owner_max_pending: int | None = setting(
        "VIDEOQUEUE_OWNER_MAX_PENDING",
        whole(0),
        None,
        "jobs",
        "Maximum number of pending jobs of one owner. At the limit, submissions are rejected with 429; 0 for "
        "no limit. Default: 5000, and no limit for jobs that are submitted without a key. `videoqueue owners "
        "set` sets exceptions from this and the next two.",
    )
    owner_max_running: int = setting(
        "VIDEOQUEUE_OWNER_MAX_RUNNING",
        whole(0),
        0,
        "jobs",
        "Maximum number of running jobs of one owner; further ones wait. 0 for no limit.",
    )
    owner_max_stored_bytes: int = setting(
        "VIDEOQUEUE_OWNER_MAX_STORED_BYTES",
        whole(0),
        0,
        "bytes",
        "Maximum size of all stored videos of one owner together. A video beyond it is rejected with 429; 0 "
        "for no limit.",
    )

    @property
    def may_be_open(self) -> bool:
        """Returns whether requests need no key as long as none was created."""
        if self.auth != "auto":
            return self.auth == "off"
        return is_loopback(self.bind[0]) and self.trusted_proxies == 0 and not self.admin_key

    def require_consistent_access(self) -> None:
        """Checks that the owner's header can only come from a proxy, and is not ignored.

        Raises:
            SettingsError: it could come from any client, or keys are off.
        """
        if not self.owner_header:
            return
        if self.trusted_proxies == 0:
            raise SettingsError(
                f"VIDEOQUEUE_OWNER_HEADER={self.owner_header} cannot be used: without a trusted proxy every "
                "client can send this header. Set VIDEOQUEUE_TRUSTED_PROXIES to the number of proxies."
            )
        if self.auth == "off":
            raise SettingsError(
                f"VIDEOQUEUE_OWNER_HEADER={self.owner_header} cannot be used with VIDEOQUEUE_AUTH=off, which "
                "ignores it. Remove one of them."
            )
