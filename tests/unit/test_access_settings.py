"""Settings of access: which secrets and headers are taken, and that no secret is printed."""

from __future__ import annotations

import re

import pytest

from tests.support.leaks import ADMIN_KEY
from videoqueue.settings import load_settings


@pytest.mark.parametrize(
    ("name", "secret", "takes"),
    [
        ("VIDEOQUEUE_ADMIN_KEY", "a secret that is too short", "at least"),
        ("VIDEOQUEUE_ADMIN_KEY", "a secret with spaces and 32 characters", "at least"),
        ("VIDEOQUEUE_API_KEY", "a secret of two words", "letters, digits"),
    ],
)
def test_a_secret_that_cannot_be_used_is_not_printed(name: str, secret: str, takes: str) -> None:
    with pytest.raises(Exception, match=f"cannot be used: {name} takes {takes}") as caught:
        load_settings({name: secret})
    assert "secret" not in str(caught.value)


def test_no_secret_is_in_the_text_of_the_settings() -> None:
    given = {"VIDEOQUEUE_ADMIN_KEY": ADMIN_KEY, "VIDEOQUEUE_API_KEY": "vq_own"}
    assert not re.search(rf"{ADMIN_KEY}|vq_own", repr(load_settings(given)))


@pytest.mark.parametrize("environ", [{}, {"VIDEOQUEUE_TRUSTED_PROXIES": "1", "VIDEOQUEUE_AUTH": "off"}])
def test_the_header_of_a_proxy_needs_a_proxy_and_keys(environ: dict[str, str]) -> None:
    with pytest.raises(Exception, match="VIDEOQUEUE_OWNER_HEADER=X-User cannot be used"):
        load_settings({"VIDEOQUEUE_OWNER_HEADER": "X-User"} | environ)


@pytest.mark.parametrize(
    "name",
    [
        "Authorization",
        "proxy-authorization",
        "Host",
        "Cookie",
        "X-Request-Id",
        "Content-Type",
        "Content-Length",
        "Forwarded",
        "X-Forwarded-For",
        "X-Forwarded-Host",
        "X-Real-IP",
        "Via",
        "Origin",
        "Sec-Fetch-Site",
        "User-Agent",
        "Idempotency-Key",
        "If-None-Match",
        "Transfer-Encoding",
    ],
)
def test_a_header_that_clients_send_or_that_has_another_meaning_cannot_name_the_owner(name: str) -> None:
    given = {"VIDEOQUEUE_OWNER_HEADER": name, "VIDEOQUEUE_TRUSTED_PROXIES": "1"}
    with pytest.raises(Exception, match=f"VIDEOQUEUE_OWNER_HEADER='{name}'.* such as X-Remote-User"):
        load_settings(given)


@pytest.mark.parametrize("name", ["X-Remote-User", "Remote-User", "X-Forwarded-User", "X-Auth-Request-User"])
def test_the_usual_headers_of_proxies_can_name_the_owner(name: str) -> None:
    given = {"VIDEOQUEUE_OWNER_HEADER": name, "VIDEOQUEUE_TRUSTED_PROXIES": "1"}
    assert load_settings(given).owner_header == name
