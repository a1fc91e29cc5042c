"""What a child prints becomes lines of the worker's log that cannot be taken for the worker's own."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from unicodedata import category

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.log_lines import LogLines
from videoqueue.logs import formatter
from videoqueue.sandbox.child_output import ChildOutput, Lines
from videoqueue.sandbox.child_record import LINE_BYTES, record_of


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    """The reading and the writing end; the reading end is closed by who reads it."""
    reading, writing = os.pipe()
    yield reading, writing
    os.close(writing)


def test_each_line_names_the_job_and_the_child_and_holds_no_control_character(
    pipe: tuple[int, int], log_lines: LogLines
) -> None:
    output = ChildOutput(pipe[0], 77, max_lines=10)
    output.begin({"job_id": "a", "attempt": 1})
    os.write(
        pipe[1],
        b"[INFO] Job completed. job_id=b\n\x1b[2Jgone\r50 %\r\n\xff\xe2\x80\xa8\xc2\x9b1m \xc3\xa4\nno end",
    )
    output.begin({"job_id": "c", "attempt": 2})
    os.write(pipe[1], b"next\n")
    output.close()
    assert log_lines.written == [
        "[job_id=a attempt=1] [INFO] Job completed. job_id=b",
        "[job_id=a attempt=1] \\x1b[2Jgone",
        "[job_id=a attempt=1] 50 %",
        "[job_id=a attempt=1] \\xff\\u2028\\x9b1m ä",
        "[job_id=a attempt=1] no end",
        "[job_id=c attempt=2] next",
    ]


def test_of_too_many_lines_the_first_and_the_last_are_shown_and_the_others_are_counted(
    pipe: tuple[int, int], log_lines: LogLines
) -> None:
    output = ChildOutput(pipe[0], 77, max_lines=3)
    output.begin({"job_id": "job"})
    os.write(pipe[1], b"".join(b"%d\n" % number for number in range(150)))
    output.end_job()
    lines = [line.removeprefix("[job_id=job] ") for line in log_lines.written]
    assert lines[:3] == ["0", "1", "2"]
    assert lines[3] == "47 lines left out: more than 3 (VIDEOQUEUE_SANDBOX_LOG_LINES)."
    assert lines[4:] == [str(number) for number in range(50, 150)]
    log_lines.written.clear()
    output.begin({"job_id": "next"})
    os.write(pipe[1], b"anew\n")
    output.close()
    assert log_lines.written == ["[job_id=next] anew"]


def test_the_last_words_are_those_of_the_job(pipe: tuple[int, int]) -> None:
    output = ChildOutput(pipe[0], 77, max_lines=3)
    output.begin({"job_id": "job"})
    os.write(pipe[1], b"std::bad_alloc\n")
    output.read()
    assert output.last_words == "std::bad_alloc\n"
    output.begin({"job_id": "next"})
    assert output.last_words == ""
    output.close()


@given(st.lists(st.binary(max_size=3 * LINE_BYTES)))
def test_lines_do_not_depend_on_the_pieces_they_arrive_in_and_are_bounded(pieces: list[bytes]) -> None:
    data = b"".join(pieces)
    lines = Lines()
    found = [line for piece in pieces for line in lines.feed(piece)] + list(lines.flush())
    whole = Lines()
    assert found == list(whole.feed(data)) + list(whole.flush())
    for line, more in found:
        assert line
        text = record_of(line, more, 1, {}).getMessage()
        assert len(text) <= 4 * LINE_BYTES + 40  # an escaped byte takes four characters
        assert not any(category(letter) in ("Cc", "Cs", "Zl", "Zp") for letter in text)


LOGGED = {"level": "WARNING", "logger": "my.plugin", "message": "Odd frame.", "node": "n", "score": 0.5}


def logged(pipe: tuple[int, int], **changes: object) -> None:
    os.write(pipe[1], f"\n{json.dumps(LOGGED | changes)}\n".encode())


def test_what_a_child_logs_keeps_its_level_logger_fields_and_traceback(
    pipe: tuple[int, int], log_lines: LogLines, caplog: pytest.LogCaptureFixture
) -> None:
    output = ChildOutput(pipe[0], 77, max_lines=10)
    output.begin({"job_id": "a", "attempt": 1})
    os.write(pipe[1], b"50 %")
    logged(pipe, exception="Traceback\n  x\nValueError: y")
    output.close()
    assert log_lines.written == [
        "[job_id=a attempt=1] 50 %",
        "[job_id=a attempt=1 node=n] Odd frame. score=0.5\n    Traceback\n      x\n    ValueError: y",
    ]
    (_, record) = caplog.records
    assert (record.name, record.levelname, record.process) == ("my.plugin", "WARNING", 77)


def test_a_child_says_nothing_about_process_time_and_job(pipe: tuple[int, int]) -> None:
    given = LOGGED | {
        "job_id": "other",
        "attempt": 9,
        "request_id": "r",
        "process": "worker",
        "pid": 1,
        "origin": "web",
        "time": "2000-01-01T00:00:00.000Z",
        "levelno": 50,
        "exc_info": True,
        "created": 0.0,
    }
    record = record_of(json.dumps(given).encode(), 0, 77, {"job_id": "a", "attempt": 1})
    found = json.loads(formatter("worker", "json").format(record))
    assert found.pop("time") > "2026"
    assert found == {
        "level": "WARNING",
        "process": "child",
        "pid": 77,
        "logger": "my.plugin",
        "job_id": "a",
        "attempt": 1,
        "node": "n",
        "message": "Odd frame.",
        "score": 0.5,
    }


@pytest.mark.parametrize(
    "line",
    [
        b"{}",
        b"[1]",
        b'{"level": "INFO", "logger": "a"}',
        b'{"level": "LOUD", "logger": "a", "message": "m"}',
        b'{"level": "INFO", "logger": "a] [web 1", "message": "m"}',
        b'{"level": "INFO", "logger": "output", "message": "m"}',
        b'{"level": ["INFO"], "logger": "a", "message": "m"}',
        b'{"level": "INFO", "logger": "a", "message": "m"} more',
        b'{"a":' * 2000,
        b'{"n": ' + b"9" * 5000 + b"}",
    ],
)
def test_what_is_not_a_record_is_shown_as_it_was_printed(line: bytes) -> None:
    record = record_of(line, 0, 77, {})
    assert (record.name, record.levelname) == ("output", "INFO")
    assert record.getMessage().startswith(line[:1000].decode())


@given(
    st.dictionaries(
        st.sampled_from([*LOGGED, "exception", "process", "pid", "job_id", "args", "extra"]) | st.text(),
        st.text() | st.integers() | st.floats() | st.none() | st.booleans() | st.lists(st.text()),
    )
)
def test_whatever_a_child_logs_becomes_one_line_of_json_under_its_job(fields: dict[str, object]) -> None:
    given = {"level": "INFO", "logger": "a", "message": "m"} | fields
    record = record_of(json.dumps(given).encode(), 0, 77, {"job_id": "a", "attempt": 1})
    line = formatter("worker", "json").format(record)
    found = json.loads(line)
    assert "\n" not in line
    assert (found["process"], found["pid"], found["job_id"], found["attempt"]) == ("child", 77, "a", 1)
    first, *others = formatter("worker").format(record).split("\n")
    assert " [child 77] " in first.partition("Z]")[2][:13]
    assert all(other.startswith("    ") for other in others)


def test_a_long_record_counts_as_several_lines(pipe: tuple[int, int], log_lines: LogLines) -> None:
    output = ChildOutput(pipe[0], 77, max_lines=3)
    output.begin({"job_id": "a"})
    logged(pipe, exception="1\n2\n3")
    logged(pipe, message="second")
    logged(pipe, message="third", exception="x" * 9000)
    output.read()
    assert log_lines.written == []
    output.close()
    assert ["Odd frame" in line for line in log_lines.written] == [True, False, False]
