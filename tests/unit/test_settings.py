import os
from pathlib import Path

import pytest

from videoqueue.errors import SettingsError
from videoqueue.settings import absolute_paths, load_settings


def test_nothing_set_gives_defaults_below_the_data_folder() -> None:
    settings = load_settings({"VIDEOQUEUE_DATA_DIR": "/data"})
    assert settings.database_url == "sqlite:////data/videoqueue.db"
    assert settings.bind == ("127.0.0.1", 8000)
    assert settings.lease_seconds == 20.0


def test_an_empty_variable_counts_as_not_set() -> None:
    assert load_settings({"PORT": " ", "VIDEOQUEUE_MAX_ATTEMPTS": ""}).max_attempts == 5


@pytest.mark.parametrize(
    "given", ["postgres://u:p@h/d", "postgresql://u:p@h/d", "postgresql+psycopg://u:p@h/d"]
)
def test_a_platforms_postgres_url_gets_the_installed_driver(given: str) -> None:
    assert load_settings({"DATABASE_URL": given}).database_url == "postgresql+psycopg://u:p@h/d"


def test_a_platform_that_sets_port_is_served_on_every_address() -> None:
    assert load_settings({"PORT": "5000"}).bind == ("0.0.0.0", 5000)
    assert load_settings({"PORT": "5000", "VIDEOQUEUE_HOST": "127.0.0.1"}).bind == ("127.0.0.1", 5000)


@pytest.mark.parametrize(
    ("name", "value", "takes"),
    [
        ("PORT", "http", "a port from 1 to 65535"),
        ("PORT", "70000", "a port from 1 to 65535"),
        ("VIDEOQUEUE_MAX_ATTEMPTS", "0", "a whole number of at least 1"),
        ("VIDEOQUEUE_WORKER_THREADS", "two", "a whole number of at least 1"),
        ("VIDEOQUEUE_TEXT_DETAIL", "319", "a whole number from 320 to 2560"),
        ("VIDEOQUEUE_TEXT_DETAIL", "2561", "a whole number from 320 to 2560"),
        ("VIDEOQUEUE_OCR_CONFIDENCE", "50", "a number from 0 to 1"),
        ("VIDEOQUEUE_OCR_RECOGNIZER", "/nowhere.onnx", "the path of a file that exists"),
        ("VIDEOQUEUE_OCR_CHARSET", "/nowhere.txt", "the path of a file that exists"),
        ("VIDEOQUEUE_LEASE_SECONDS", "-1", "a number of seconds above 0"),
        ("VIDEOQUEUE_LEASE_SECONDS", "nan", "a number of seconds above 0"),
        ("VIDEOQUEUE_LEASE_SECONDS", "1e10", "a number of seconds above 0, and at most 1000000000"),
        ("VIDEOQUEUE_RETENTION_DAYS", "1000000000", "a whole number from 0 to 36500"),
        ("VIDEOQUEUE_OWNER_MAX_PENDING", "9" * 30, "a whole number from 0 to 9223372036854775807"),
        ("VIDEOQUEUE_OWNER_MAX_PENDING", "9" * 5000, "a whole number of at least 0"),
        ("VIDEOQUEUE_OWNER_MAX_PENDING", "--1", "a whole number of at least 0"),
        ("VIDEOQUEUE_OWNER_MAX_PENDING", "²", "a whole number of at least 0"),
        ("PORT", "²", "a port from 1 to 65535"),
        ("VIDEOQUEUE_PIPELINES_DIR", "/" + "a" * 5000, "the path of a folder that exists"),
        ("VIDEOQUEUE_AUTH", "on", "auto, required or off."),
        ("VIDEOQUEUE_LEASE_SECONDS", "inf", "a number of seconds above 0"),
        ("VIDEOQUEUE_MIN_DECODED_SHARE", "50%", "a number from 0 to 1"),
        ("VIDEOQUEUE_MIN_DECODED_SHARE", "1.5", "a number from 0 to 1"),
        ("REDIS_URL", "localhost:6379", "a URL that begins with redis://, rediss:// or unix://"),
        ("VIDEOQUEUE_STORAGE_URL", "ftp://x", "a URL that begins with file:// or s3://"),
        ("VIDEOQUEUE_YOLO_MODEL", "/nowhere.onnx", "the path of a file that exists"),
        ("VIDEOQUEUE_PIPELINES_DIR", "/nowhere", "the path of a folder that exists"),
        ("DATABASE_URL", "mysql://h/d", "a URL that begins with postgresql://"),
    ],
)
def test_a_bad_value_names_the_setting_and_what_it_takes_in_one_line(
    name: str, value: str, takes: str
) -> None:
    with pytest.raises(SettingsError) as caught:
        load_settings({name: value})
    message = str(caught.value)
    assert message.startswith(f"{name}={value!r} cannot be used: {name} takes {takes}")
    assert "\n" not in message


def test_a_bad_key_is_not_repeated() -> None:
    start = "VIDEOQUEUE_API_KEY='...' cannot be used: VIDEOQUEUE_API_KEY takes"
    with pytest.raises(SettingsError, match=f"^{start} letters, digits or other ASCII characters, no spaces"):
        load_settings({"VIDEOQUEUE_API_KEY": "a b"})


def test_a_password_in_a_bad_url_is_not_repeated() -> None:
    with pytest.raises(SettingsError, match=r"DATABASE_URL='mysql://\.\.\.' cannot be used") as caught:
        load_settings({"DATABASE_URL": "mysql://user:secret@host/d"})
    assert "secret" not in str(caught.value)


def test_a_lease_must_outlast_two_renewals() -> None:
    with pytest.raises(SettingsError, match="at most half of VIDEOQUEUE_LEASE_SECONDS"):
        load_settings({"VIDEOQUEUE_LEASE_SECONDS": "5", "VIDEOQUEUE_RENEW_SECONDS": "4"})


def test_without_a_queue_nothing_may_start() -> None:
    with pytest.raises(SettingsError, match="REDIS_URL is not set"):
        load_settings({}).require_durable()


def test_a_shared_database_beside_a_local_folder_may_not_start() -> None:
    environ = {"REDIS_URL": "redis://h", "DATABASE_URL": "postgres://h/d"}
    with pytest.raises(SettingsError, match="VIDEOQUEUE_STORAGE_URL is not set"):
        load_settings(environ).require_durable()
    load_settings(environ | {"VIDEOQUEUE_STORAGE_URL": "s3://bucket"}).require_durable()


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("sqlite:///jobs.db", "sqlite:///{here}/jobs.db"),
        ("sqlite:///below/jobs.db?timeout=5", "sqlite:///{here}/below/jobs.db?timeout=5"),
        ("sqlite:///file:jobs.db?mode=rwc&uri=true", "sqlite:///file:{here}/jobs.db?mode=rwc&uri=true"),
        ("sqlite:////srv/jobs.db", "sqlite:////srv/jobs.db"),
    ],
)
def test_a_sqlite_file_is_meant_from_the_working_directory(
    given: str, meant: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert load_settings({"DATABASE_URL": given}).database_url == meant.format(here=tmp_path)


def test_paths_mean_the_same_after_the_folder_has_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "model.onnx").touch()
    (tmp_path / "labels.txt").touch()
    (tmp_path / "thai.onnx").touch()
    (tmp_path / "thai.txt").touch()
    (tmp_path / "pipelines").mkdir()
    (tmp_path / "elsewhere").mkdir()
    environ = {
        "DATABASE_URL": "sqlite:///jobs.db",
        "VIDEOQUEUE_PIPELINES_DIR": "pipelines",
        "VIDEOQUEUE_FAILPOINTS_DIR": "pipelines",
        "VIDEOQUEUE_YOLO_MODEL": "./model.onnx",
        "VIDEOQUEUE_YOLO_LABELS": "labels.txt",
        "VIDEOQUEUE_OCR_RECOGNIZER": "./thai.onnx",
        "VIDEOQUEUE_OCR_CHARSET": "thai.txt",
        "OTHER": "./other",
        "VIDEOQUEUE_LEASE_SECONDS": "30",
    }
    monkeypatch.chdir(tmp_path)
    before = load_settings(environ)

    absolute = absolute_paths(environ)
    os.chdir(tmp_path / "elsewhere")

    assert load_settings(absolute) == before
    assert before.data_dir == str(tmp_path / "var")
    assert (absolute["OTHER"], absolute["VIDEOQUEUE_LEASE_SECONDS"]) == ("./other", "30")


def test_an_idle_connection_outlives_a_platforms_router() -> None:
    assert load_settings({}).keep_alive_seconds == 95
