"""The first key of `videoqueue up` is never one that nobody has."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import sqlalchemy as sa
from flask import Flask
from sqlalchemy.engine import Engine

from tests.support.stack import free_port
from videoqueue.api.extension import services_of
from videoqueue.app import create_app
from videoqueue.cli.api_key import key_file
from videoqueue.cli.up import Access, prepare_access
from videoqueue.errors import VideoqueueError
from videoqueue.jobs.keys import KeyStore
from videoqueue.jobs.tables import Base
from videoqueue.settings import Settings, load_settings


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return load_settings(
        {
            "VIDEOQUEUE_DATA_DIR": str(tmp_path / "data"),
            "VIDEOQUEUE_HOST": "0.0.0.0",
            "REDIS_URL": f"redis://127.0.0.1:{free_port()}",
        }
    )


@pytest.fixture
def app(settings: Settings) -> Iterator[Flask]:
    app = create_app(settings)
    Base.metadata.create_all(services_of(app).engine)
    yield app
    services_of(app).engine.dispose()


@contextmanager
def refusing_keys(engine: Engine) -> Iterator[None]:
    """The database stores no key: what is left of a process killed just before it creates one."""
    with engine.begin() as connection:
        refuse = "BEFORE INSERT ON api_key BEGIN SELECT RAISE(FAIL, 'no'); END"
        connection.execute(sa.text(f"CREATE TRIGGER refusing {refuse}"))
    yield
    with engine.begin() as connection:
        connection.execute(sa.text("DROP TRIGGER refusing"))


def test_a_file_that_cannot_be_written_leaves_no_key_behind(app: Flask, settings: Settings) -> None:
    file = key_file(settings.data_path)
    file.mkdir()
    keys = KeyStore(services_of(app).engine)
    with pytest.raises(VideoqueueError, match=r"cannot be written to .*, so none was created"):
        prepare_access(settings, shows_key=False)
    assert not keys.any_made()
    assert [path.name for path in settings.data_path.glob("api-key*")] == ["api-key"]
    file.rmdir()
    assert prepare_access(settings, shows_key=False).notes
    assert keys.check(file.read_text().strip()) is not None


def test_a_start_that_ends_before_the_key_is_stored_is_made_up_for_by_the_next(
    app: Flask, settings: Settings
) -> None:
    keys, file = KeyStore(services_of(app).engine), key_file(settings.data_path)
    with refusing_keys(services_of(app).engine), pytest.raises(sa.exc.IntegrityError):
        prepare_access(settings, shows_key=False)
    lost = file.read_text()
    assert not keys.any_made()
    access = prepare_access(settings, shows_key=True)
    assert keys.check(file.read_text().strip()) is not None
    assert access == Access(
        needs_key=True,
        notes=(
            f"Every request needs a key. The first one is in {file}.",
            f"KEY is {file.read_text().strip()}",
        ),
    )
    assert lost != file.read_text()
    assert file.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("changes", "note"),
    [
        ({}, "KEY was printed by `videoqueue keys create`."),
        ({"VIDEOQUEUE_ADMIN_KEY": "a" * 32}, "KEY is the value of VIDEOQUEUE_ADMIN_KEY."),
    ],
)
def test_a_start_that_creates_no_key_says_what_the_key_is(
    app: Flask, settings: Settings, changes: dict[str, str], note: str
) -> None:
    keys = KeyStore(services_of(app).engine)
    if not changes:
        keys.create("anna", frozenset({"submit"}))
    again = load_settings(variables(settings) | changes)
    made = keys.all()
    assert prepare_access(again, shows_key=True) == Access(
        needs_key=True,
        notes=(
            "Every request needs a key.",
            note,
            "`videoqueue keys create --owner NAME` creates another key.",
        ),
    )
    assert keys.all() == made


def test_a_second_start_names_the_file_of_the_first_key(app: Flask, settings: Settings) -> None:
    prepare_access(settings, shows_key=False)
    notes = prepare_access(settings, shows_key=True).notes
    assert f"KEY is in {key_file(settings.data_path)} unless it was revoked." in notes


def test_a_start_behind_a_proxy_names_the_header_of_the_owner(app: Flask, settings: Settings) -> None:
    changes = {"VIDEOQUEUE_OWNER_HEADER": "X-Remote-User", "VIDEOQUEUE_TRUSTED_PROXIES": "1"}
    access = prepare_access(load_settings(variables(settings) | changes), shows_key=False)
    assert access.notes[0].startswith(
        "Requests come through the proxy that names their owner in X-Remote-User, or need"
    )
    assert not any(note.startswith("KEY ") for note in access.notes)


def variables(settings: Settings) -> dict[str, str]:
    return {
        "VIDEOQUEUE_DATA_DIR": settings.data_dir,
        "VIDEOQUEUE_HOST": "0.0.0.0",
        "REDIS_URL": settings.redis_url,
    }
