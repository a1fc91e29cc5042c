"""Secrets in texts are masked, whatever notation they are in, and nothing else is."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import fields
from urllib.parse import quote

import pytest

from videoqueue import logs, redaction
from videoqueue.redaction import mask
from videoqueue.settings import Settings
from videoqueue.settings.values import SECRET

ADMIN = "it's \\an\"admin/key+of%40 characters".replace(" ", "_")
# The names of tests contain them, so they are the same in every process.
ID, SECRET_PART = "abcdefghijkl", "0aB" * 14 + "z"
TOKEN = f"vq_{ID}_{SECRET_PART}"


@pytest.fixture(autouse=True)
def remembered() -> Iterator[None]:
    redaction.remember({"VIDEOQUEUE_ADMIN_KEY": ADMIN})
    yield
    redaction.remember({})


@pytest.mark.parametrize(
    "text",
    [
        TOKEN,
        TOKEN.upper(),
        f"key={TOKEN}&x=1",
        TOKEN[:-20],
        f"/video/status/{TOKEN}",
        f"Authorization: Bearer {TOKEN}",
        f"{{'key': '{TOKEN}'}}",
    ],
)
def test_of_a_key_only_the_id_is_left(text: str) -> None:
    masked = mask(text)
    assert SECRET_PART[:10].lower() not in masked.lower()
    assert "***" in masked
    assert mask(f"key {TOKEN} refused") == f"key vq_{ID}_*** refused"


@pytest.mark.parametrize(
    "text", [ADMIN, f"x{ADMIN}x", repr(ADMIN), repr([ADMIN]), json.dumps({"a": ADMIN}), quote(ADMIN, safe="")]
)
def test_the_admin_key_is_masked_in_every_notation(text: str) -> None:
    masked = mask(text)
    assert "admin" not in masked
    assert "***" in masked


def test_a_secret_that_is_not_utf8_is_masked_in_every_notation() -> None:
    value = os.fsdecode(b"0123456789abcdef\xff\xfe")
    redaction.remember({"VIDEOQUEUE_ADMIN_KEY": value})
    for text in (value, repr(value), json.dumps(value), "0123456789abcdef%FF%FE"):
        assert "0123456789" not in mask(text)


@pytest.mark.parametrize(
    "text",
    [
        "Authorization: Bearer opaque",
        "authorization:Basic opaque",
        "Proxy-Authorization: Digest username=x, response=opaque",
        "HTTP_AUTHORIZATION=Bearer opaque",
        "{'Authorization': 'Bearer opaque', 'Host': 'videos.example.com'}",
        '{"Authorization": "Basic opaque"}',
        json.dumps(json.dumps({"Authorization": "Basic opaque"})),
        "('Authorization', 'Bearer opaque')",
        "[(b'authorization', b'Bearer opaque')]",
        repr(b"GET / HTTP/1.1\r\nAuthorization: Bearer opaque\r\nHost: videos.example.com\r\n"),
        "GET / HTTP/1.1\r\nAuthorization: Bearer opaque\r\nHost: videos.example.com\r\n",
        "curl -H 'Authorization: Bearer opaque' http://videos.example.com",
        "sent bearer opaque",
        "sent bearer KEY-opaque",
        "Authorization: Bearer KEY-opaque",
        "Authorization: Bearer KEYopaque",
        "Authorization: Bearer KEY opaque",
        "Authorization: Bearer KEY, opaque",
        "Cookie: session=opaque; a=b",
        "{'HTTP_COOKIE': 'session=opaque'}",
        "Set-Cookie: session=opaque; HttpOnly",
    ],
)
def test_the_value_of_a_header_with_a_secret_is_masked(text: str) -> None:
    masked = mask(text)
    assert "opaque" not in masked
    assert "***" in masked
    assert ("videos.example.com" in masked) == ("videos.example.com" in text)
    assert mask(masked) == masked


@pytest.mark.parametrize(
    "text",
    [
        "Job completed.",
        f"Revoked {ID}.",
        "Send it in the header `Authorization: Bearer KEY`.",
        "Send it in the header `Authorization: Bearer KEY`. Create one with `videoqueue keys create`.",
        "curl -H 'Authorization: Bearer KEY' http://videos.example.com",
        json.dumps({"detail": 'the header "Authorization: Bearer KEY"'}),
        "Authorization: Bearer KEY",
        "Bearer KEY, and no other",
        'Bearer realm="videoqueue", error="invalid_token"',
        "The header Authorization is missing.",
        "vq_abc is no key",
    ],
)
def test_other_texts_stay_as_they_are(text: str) -> None:
    assert mask(text) == text


def test_every_setting_that_is_a_secret_is_masked() -> None:
    names = {entry.metadata["name"] for entry in fields(Settings) if entry.metadata["unit"] == SECRET}
    assert names
    assert names <= set(redaction.VARIABLES)
    for name in names:
        redaction.remember({name: "0123456789abcdef-of-its-own"})
        assert mask("is 0123456789abcdef-of-its-own.") == "is ***."


def leaky_record() -> logging.LogRecord:
    """A record with a secret in each part: also where a text is cut."""
    try:
        raise ValueError(f"no row for {TOKEN} and {ADMIN}" + "x" * 30_000)
    except ValueError as error:
        return logging.makeLogRecord(
            {
                "msg": "refused %s",
                "args": ({"Authorization": f"Bearer {TOKEN}"},),
                "exc_info": (type(error), error, error.__traceback__),
                "stack_info": f"Stack: {ADMIN}",
                "authorization": ADMIN,
                "cookie": "session=opaque",
                "reason": "x" * 980 + ADMIN,
                "key": TOKEN,
            }
        )


@pytest.mark.parametrize("format", [*logs.FORMATS, logs.PIPE])
def test_no_part_of_a_record_shows_a_secret(format: str) -> None:
    with logs.context(sent=TOKEN):
        line = logs.formatter("web", format).format(leaky_record())
    assert f"vq_{ID}_***" in line
    for secret in (SECRET_PART[:8], ADMIN[:12], "opaque"):
        assert secret not in line


def output_of(code: str) -> str:
    """What a process prints to stderr; its environment has the admin key."""
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"VIDEOQUEUE_ADMIN_KEY": ADMIN, "PYTHONPATH": ":".join(filter(None, sys.path))},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == ""
    return done.stderr


LEAK = f"""
import logging, threading, warnings
token, admin = {TOKEN!r}, {ADMIN!r}
logging.getLogger("a.library").warning("one %s %s", token, admin)
logging.getLogger("videoqueue.audit").info("two", extra={{"reason": token + admin}})
raise ValueError("three " + token + admin)
"""


@pytest.mark.parametrize(
    "setup",
    [
        "log_setup.configure('web')",
        "log_setup.configure('worker', 'DEBUG', 'json')",
        "log_setup.configure('up', 'CRITICAL')",
        "log_setup.configure_command()",
    ],
)
def test_processes_and_commands_log_no_secret(setup: str) -> None:
    output = output_of(f"from videoqueue import log_setup\n{setup}\n{LEAK}")
    assert "two" in output
    assert "three" in output
    assert output.count(f"vq_{ID}_***") >= 2
    assert SECRET_PART not in output
    assert ADMIN[5:15] not in output
