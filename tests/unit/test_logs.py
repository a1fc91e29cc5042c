"""Every line of the log has one format, and names what it belongs to."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from collections.abc import Mapping
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from videoqueue import logs
from videoqueue.errors import SettingsError
from videoqueue.settings import load_settings

TEXTS = st.text(st.characters(codec=None, categories=None) | st.sampled_from('\x00\n\r\x1b"\\\ud800\u2028'))


def record(message: str = "Job completed.", **fields: object) -> logging.LogRecord:
    known = {"name": "videoqueue.x", "levelname": "INFO", "created": 1772357400.125, "process": 42}
    return logging.makeLogRecord({**known, "msg": message, **fields})


def in_json(given: logging.LogRecord) -> dict[str, object]:
    line = logs.formatter("web", "json").format(given)
    assert "\n" not in line
    found: dict[str, object] = json.loads(line)
    return found


def run(code: str) -> list[str]:
    """The lines that a process writes to stderr."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout == ""
    return done.stderr.splitlines()


def test_a_text_line_has_time_process_logger_level_context_sentence_and_fields() -> None:
    with logs.context(job_id="a", attempt=1):
        line = logs.formatter("worker").format(record(seconds=0.41, reason="Storage is away."))
    assert line == (
        "[2026-03-01T09:30:00.125Z] [worker 42] [videoqueue.x] [INFO] [job_id=a attempt=1] "
        "Job completed. seconds=0.41 reason=Storage is away."
    )


def test_a_json_line_has_the_same_as_fields_of_one_object() -> None:
    with logs.context(request_id="r"):
        found = in_json(record(bytes=7, ready=True, odd=object, nan=float("nan"), nothing=None))
    assert found == {
        "time": "2026-03-01T09:30:00.125Z",
        "level": "INFO",
        "process": "web",
        "pid": 42,
        "logger": "videoqueue.x",
        "request_id": "r",
        "message": "Job completed.",
        "bytes": 7,
        "ready": True,
        "odd": "<class 'object'>",
        "nan": "nan",
        "nothing": None,
    }


def test_a_time_is_iso_8601_in_utc() -> None:
    time = in_json(record())["time"]
    assert datetime.fromisoformat(str(time)) == datetime(2026, 3, 1, 9, 30, 0, 125_000, UTC)


def test_the_fields_of_a_block_end_with_it() -> None:
    with logs.context(job_id="a"):
        with logs.context(attempt=1):
            assert (in_json(record())["job_id"], in_json(record())["attempt"]) == ("a", 1)
        assert "attempt" not in in_json(record())
    assert "job_id" not in in_json(record())


@given(TEXTS, TEXTS)
def test_no_text_can_forge_a_line(message: str, value: str) -> None:
    found = in_json(record(message, reason=value))
    assert (found["message"], found["reason"]) == (message, value)
    first, *others = logs.formatter("web").format(record(message, reason=value)).split("\n")
    assert first.startswith("[2026-03-01T09:30:00.125Z] [web 42] [videoqueue.x] [INFO] ")
    assert all(line.startswith("    ") for line in others)
    assert not any(logs.UNSAFE.search(line) for line in [first, *others])


@given(st.dictionaries(st.from_regex("x[a-z]{0,5}", fullmatch=True), TEXTS, max_size=5), TEXTS, TEXTS)
def test_a_json_line_is_bounded_whatever_is_logged(
    fields: Mapping[str, str], message: str, exception: str
) -> None:
    logged = record(message * 2000, exc_text=exception * 2000, **fields)
    assert len(logs.formatter("web", "json").format(logged)) <= logs.MAX_JSON_BYTES


def test_of_a_long_traceback_the_end_is_kept() -> None:
    found = str(in_json(record(exc_text="x" * 50_000 + "\nValueError: the reason"))["exception"])
    assert found.startswith("...x")
    assert found.endswith("\nValueError: the reason")


def test_wrong_arguments_do_not_cost_the_line() -> None:
    assert in_json(record("%d of %d", args=("x",)))["message"] == "%d of %d <1 arguments>"


@pytest.mark.parametrize("format", logs.FORMATS)
def test_an_uncaught_exception_is_one_record_with_its_traceback(format: str) -> None:
    code = f"""
import threading
from videoqueue import log_setup
log_setup.configure("web", "INFO", {format!r})
thread = threading.Thread(target=lambda: 1 / 0, name="worker-1")
thread.start()
thread.join()
raise ValueError("a\\nb")
"""
    lines = run(code)
    if format == "text":
        heads = [line for line in lines if line.startswith("[")]
        assert heads[0].endswith("[CRITICAL] An exception ended a thread. thread_name=worker-1")
        assert heads[1].endswith("[CRITICAL] An exception ended the process.")
        assert [line for line in lines if not line.startswith(("[", "    "))] == []
        assert lines[-2:] == ["    ValueError: a", "    b"]
    else:
        thread, process = map(json.loads, lines)
        assert (thread["level"], thread["thread_name"]) == ("CRITICAL", "worker-1")
        assert "ZeroDivisionError" in thread["exception"]
        assert process["exception"].startswith("Traceback (most recent call last):\n")
        assert process["exception"].endswith("ValueError: a\nb")


def test_warnings_of_libraries_and_those_of_python_are_in_the_format() -> None:
    lines = run("""
import logging, warnings
from videoqueue import log_setup
log_setup.configure("web", "DEBUG", "json")
warnings.warn("old", UserWarning)
logging.getLogger("botocore.auth").debug("a key")
logging.getLogger("botocore").warning("odd")
logging.getLogger("other").debug("inner workings")
""")
    found = [(line["logger"], line["level"]) for line in map(json.loads, lines)]
    assert found == [("py.warnings", "WARNING"), ("botocore", "WARNING"), ("other", "DEBUG")]


@pytest.mark.parametrize(
    ("name", "value", "takes"),
    [
        ("VIDEOQUEUE_LOG_LEVEL", "LOUD", "DEBUG, INFO, WARNING, ERROR or CRITICAL"),
        ("VIDEOQUEUE_LOG_LEVEL", "20", "DEBUG, INFO, WARNING, ERROR or CRITICAL"),
        ("VIDEOQUEUE_LOG_FORMAT", "xml", "text or json"),
    ],
)
def test_an_unknown_level_or_format_is_an_error_that_names_those_accepted(
    name: str, value: str, takes: str
) -> None:
    with pytest.raises(SettingsError) as caught:
        load_settings({name: value})
    assert str(caught.value) == f"{name}={value!r} cannot be used: {name} takes {takes}."


def test_a_level_may_be_written_in_small_letters() -> None:
    assert load_settings({"VIDEOQUEUE_LOG_LEVEL": "warning"}).log_level == "WARNING"
