"""The composition root: what it makes, and what it leaves alone."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from flask import Flask

from videoqueue.api.extension import services_of
from videoqueue.errors import SettingsError
from videoqueue.services import build, build_process
from videoqueue.settings import load_settings

URLS = {"REDIS_URL": "redis://127.0.0.1:1"}


def test_building_the_parts_writes_no_file(tmp_path: Path) -> None:
    services = build(load_settings(URLS | {"VIDEOQUEUE_DATA_DIR": str(tmp_path / "data")}), pool_size=3)
    assert list(tmp_path.iterdir()) == []
    assert services.engine.pool.size() == 3  # type: ignore[attr-defined]
    assert sorted(services.pipelines) == ["ocr_only", "yolo_ocr", "yolo_only"]


def test_a_process_makes_its_data_folder_for_its_user_alone(tmp_path: Path) -> None:
    services = build_process(load_settings(URLS | {"VIDEOQUEUE_DATA_DIR": str(tmp_path / "data")}))
    folder, file = tmp_path / "data", services.settings.sqlite_file
    assert file is not None
    assert [stat.S_IMODE(path.stat().st_mode) for path in (folder, file)] == [0o700, 0o600]


def test_a_data_folder_that_cannot_be_made_is_told_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "data").touch()
    with pytest.raises(
        SettingsError, match=r"^A file or folder cannot be used: .* VIDEOQUEUE_DATA_DIR"
    ) as found:
        build_process(load_settings(URLS | {"VIDEOQUEUE_DATA_DIR": str(tmp_path / "data")}))
    assert "\n" not in str(found.value)


def test_flask_sqlalchemy_and_the_migrations_use_the_engine_of_the_services(app: Flask) -> None:
    database = app.extensions["migrate"].db
    assert database is app.extensions["sqlalchemy"]
    with app.app_context():
        assert database.engine is services_of(app).engine
        assert database.session.get_bind() is services_of(app).engine
