"""A variable that looks like a setting but is none is reported with the nearest setting."""

import logging

import pytest
from click.testing import CliRunner

from videoqueue.cli import cli
from videoqueue.settings.unknown import log_unknown_variables, unknown_variables


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("VIDEOQUEUE_LEASE_SECOND", "VIDEOQUEUE_LEASE_SECONDS"),
        ("VIDEOQUEUE_LOGLEVEL", "VIDEOQUEUE_LOG_LEVEL"),
        ("VIDEOQUEUE_MAX_UPLOAD_BYTE", "VIDEOQUEUE_MAX_UPLOAD_BYTES"),
        ("VIDEOQUEUE_REDIS_URL", "REDIS_URL"),
        ("VIDEOQUEUE_PORT", "PORT"),
        ("videoqueue_data_dir", "VIDEOQUEUE_DATA_DIR"),
        ("VIDEO_QUEUE_DATA_DIR", "VIDEOQUEUE_DATA_DIR"),
        ("VIDOEQUEUE_STORAGE_URL", "VIDEOQUEUE_STORAGE_URL"),
        ("VIDEOQUEUE_XYZZY", ""),
    ],
)
def test_an_unknown_variable_is_found_with_the_nearest_setting(name: str, nearest: str) -> None:
    assert unknown_variables({name: "8000"}) == {name: nearest}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("VIDEOQUEUE_LEASE_SECONDS", "30"),
        ("DATABASE_URL", "sqlite:////x.db"),
        ("HOME", "/root"),
        ("VIDEO_PLAYER_LOG_LEVEL", "debug"),
        ("MYQUEUE_DATA_DIR", "/x"),
        ("VIDEOQUEUE_SERVICE_HOST", "10.0.0.7"),
        ("VIDEOQUEUE_WEB_SERVICE_PORT_HTTP", "8000"),
        ("VIDEOQUEUE_PORT", "tcp://10.0.0.7:8000"),
        ("VIDEOQUEUE_PORT_8000_TCP_ADDR", "10.0.0.7"),
    ],
)
def test_settings_variables_of_others_and_those_of_kubernetes_are_not_reported(name: str, value: str) -> None:
    assert unknown_variables({name: value}) == {}


def test_the_log_has_one_warning_for_each_unknown_variable_without_its_value(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.WARNING):
        log_unknown_variables({"VIDEOQUEUE_DATABASE_UR": "secret", "VIDEOQUEUE_XYZZY": "secret"})
    found = [(vars(record)["variable"], vars(record).get("nearest_setting")) for record in caplog.records]
    assert found == [("VIDEOQUEUE_DATABASE_UR", "DATABASE_URL"), ("VIDEOQUEUE_XYZZY", None)]
    assert "secret" not in caplog.text


def test_commands_print_one_line_to_stderr_for_an_unknown_variable() -> None:
    done = CliRunner().invoke(cli, ["settings"], env={"VIDEOQUEUE_LEASE_SECOND": "30"})
    assert done.exit_code == 0
    assert done.stderr == (
        "videoqueue: warning: VIDEOQUEUE_LEASE_SECOND is no setting and is ignored. "
        "Did you mean VIDEOQUEUE_LEASE_SECONDS?\n"
    )


def test_an_unknown_variable_without_a_similar_setting_leads_to_the_list_of_settings() -> None:
    done = CliRunner().invoke(cli, ["settings"], env={"VIDEOQUEUE_XYZZY": "1"})
    assert done.stderr.endswith(
        "VIDEOQUEUE_XYZZY is no setting and is ignored. `videoqueue settings` prints all settings.\n"
    )
