"""Files and folders that only their user can open."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

import pytest

from videoqueue.errors import SettingsError
from videoqueue.hardening import make_private_database, make_private_folder, plain_environment


@pytest.fixture(autouse=True)
def _usual_umask() -> Iterator[None]:
    before = os.umask(0o022)
    yield
    os.umask(before)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_new_folder_and_its_parents_are_private(tmp_path: Path) -> None:
    make_private_folder(tmp_path / "data")
    assert mode(tmp_path / "data") == 0o700


def test_a_folder_that_was_there_is_closed_with_what_the_service_has_in_it(tmp_path: Path) -> None:
    data = tmp_path / "data"
    for name in ("objects", "valkey", "work"):
        (data / name).mkdir(parents=True)
    for name in ("videoqueue.db", "videoqueue.db-wal", "videoqueue.db-shm", "lock"):
        (data / name).touch(mode=0o644)

    make_private_folder(data)

    assert mode(data) == 0o700
    assert {mode(path) for path in data.iterdir() if path.is_dir()} == {0o700}
    assert {mode(path) for path in data.iterdir() if path.is_file()} == {0o600}


def test_a_folder_with_folders_of_others_stays_open_but_what_is_ours_in_it_is_closed(tmp_path: Path) -> None:
    (tmp_path / "home" / "public").mkdir(parents=True)
    (tmp_path / "home" / "profile").touch(mode=0o644)
    (tmp_path / "home" / "videoqueue.db").touch(mode=0o644)

    make_private_folder(tmp_path / "home")

    assert mode(tmp_path / "home") == mode(tmp_path / "home" / "public") == 0o755
    assert mode(tmp_path / "home" / "profile") == 0o644
    assert mode(tmp_path / "home" / "videoqueue.db") == 0o600


def test_a_folder_that_all_users_share_stays_open(tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o1777)

    make_private_folder(shared)

    assert mode(shared) == 0o1777


@pytest.mark.parametrize("name", [".", "objects", "videoqueue.db", "lock"])
def test_what_belongs_to_another_user_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    (tmp_path / "objects").mkdir()
    (tmp_path / "videoqueue.db").touch()
    (tmp_path / "lock").touch()
    if os.geteuid() == 0:
        os.chown(tmp_path / name, 65534, 65534)
    else:
        monkeypatch.setattr("os.geteuid", lambda: 65534)
    with pytest.raises(SettingsError, match=r"belongs to the user .*chown -R") as caught:
        make_private_folder(tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("permissions", "refused"), [(0o755, False), (0o2775, False), (0o1777, True)])
def test_a_folder_of_root_is_accepted_unless_everybody_can_write_in_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, permissions: int, refused: bool
) -> None:
    """Container platforms make volumes that belong to root, for the group of the process."""
    found = os.stat_result((0o040000 | permissions, 0, 0, 0, 0, 0, 0, 0, 0, 0))
    monkeypatch.setattr("os.geteuid", lambda: 65534)
    monkeypatch.setattr(Path, "stat", lambda _: found)
    with pytest.raises(SettingsError, match="belongs to the user root") if refused else nullcontext():
        make_private_folder(tmp_path)


def test_links_are_not_followed(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").touch(mode=0o644)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "videoqueue.db").symlink_to(tmp_path / "elsewhere")

    make_private_folder(tmp_path / "data")

    assert mode(tmp_path / "elsewhere") == 0o644


@pytest.mark.parametrize("before", [None, 0o644], ids=["new", "open"])
def test_a_database_file_is_private(tmp_path: Path, before: int | None) -> None:
    file = tmp_path / "jobs.db"
    if before is not None:
        for suffix in ("", "-wal", "-shm"):
            Path(f"{file}{suffix}").touch(mode=before)

    make_private_database(file)

    assert {mode(path) for path in tmp_path.iterdir()} == {0o600}


def test_a_database_in_a_missing_folder_is_left_to_who_opens_it(tmp_path: Path) -> None:
    make_private_database(tmp_path / "missing" / "jobs.db")
    assert list(tmp_path.iterdir()) == []


def test_a_plain_environment_has_no_secrets() -> None:
    environ = {"PATH": "/bin", "HOME": "/", "DATABASE_URL": "x", "AWS_SECRET_ACCESS_KEY": "x", "TOKEN": "x"}
    assert plain_environment(environ) == {"PATH": "/bin", "HOME": "/"}
