"""What a child prints becomes lines of the worker's log that cannot be taken for the worker's own."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from unicodedata import category

import pytest
from hypothesis import given
from hypothesis import strategies as st

from videoqueue.sandbox.child_output import LINE_BYTES, ChildOutput, Lines


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    """The reading and the writing end; the reading end is closed by who reads it."""
    reading, writing = os.pipe()
    yield reading, writing
    os.close(writing)


@pytest.fixture(autouse=True)
def at_info(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "videoqueue.sandbox.child_output")


def test_each_line_names_the_job_and_the_child_and_holds_no_control_character(
    pipe: tuple[int, int], caplog: pytest.LogCaptureFixture
) -> None:
    output = ChildOutput(pipe[0], 77, most_lines=10)
    output.begin("job_id=a attempt=1")
    os.write(
        pipe[1],
        b"[INFO] Job completed. job_id=b\n\x1b[2Jgone\r50 %\r\n\xff\xe2\x80\xa8\xc2\x9b1m \xc3\xa4\nno end",
    )
    output.begin("job_id=c attempt=2")
    os.write(pipe[1], b"next\n")
    output.close()
    assert caplog.messages == [
        "job_id=a attempt=1 child=77 | [INFO] Job completed. job_id=b",
        "job_id=a attempt=1 child=77 | \\x1b[2Jgone",
        "job_id=a attempt=1 child=77 | 50 %",
        "job_id=a attempt=1 child=77 | \\xff\\u2028\\x9b1m ä",
        "job_id=a attempt=1 child=77 | no end",
        "job_id=c attempt=2 child=77 | next",
    ]


def test_of_too_many_lines_the_first_and_the_last_are_shown_and_the_others_are_counted(
    pipe: tuple[int, int], caplog: pytest.LogCaptureFixture
) -> None:
    output = ChildOutput(pipe[0], 77, most_lines=3)
    output.begin("job")
    os.write(pipe[1], b"".join(b"%d\n" % number for number in range(150)))
    output.end_job()
    lines = [message.partition(" | ")[2] for message in caplog.messages]
    assert lines[:3] == ["0", "1", "2"]
    assert lines[3] == "47 lines left out: more than 3 (VIDEOQUEUE_SANDBOX_LOG_LINES)."
    assert lines[4:] == [str(number) for number in range(50, 150)]
    caplog.clear()
    output.begin("next")
    os.write(pipe[1], b"anew\n")
    output.close()
    assert caplog.messages == ["next child=77 | anew"]


def test_the_last_words_are_those_of_the_job(pipe: tuple[int, int]) -> None:
    output = ChildOutput(pipe[0], 77, most_lines=3)
    output.begin("job")
    os.write(pipe[1], b"std::bad_alloc\n")
    output.read()
    assert output.last_words == "std::bad_alloc\n"
    output.begin("next")
    assert output.last_words == ""
    output.close()


@given(st.lists(st.binary(max_size=3 * LINE_BYTES)))
def test_lines_do_not_depend_on_the_pieces_they_arrive_in_and_are_bounded(pieces: list[bytes]) -> None:
    data = b"".join(pieces)
    lines = Lines()
    found = [line for piece in pieces for line in lines.feed(piece)] + list(lines.flush())
    whole = Lines()
    assert found == list(whole.feed(data)) + list(whole.flush())
    for line in found:
        assert line
        assert len(line) <= 4 * LINE_BYTES + 40  # an escaped byte takes four characters
        assert not any(category(letter) in ("Cc", "Cs", "Zl", "Zp") for letter in line)
