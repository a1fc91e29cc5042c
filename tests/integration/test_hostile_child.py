"""A child process that is no longer ours: whatever it sends, its job ends, and nothing else changes.

The processes and pipes are real. In place of the pipeline they carry out a plan:
`tests.support.hostile_child`.
"""

from __future__ import annotations

import json
import re
import threading
import uuid
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import psutil
import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.hostile_child import Step, instead_of_the_pipeline
from tests.support.log_lines import LogLines
from tests.support.records import new_job, stored
from tests.support.sandboxes import limits_with
from videoqueue.api.extension import services_of
from videoqueue.app import create_app
from videoqueue.jobs.tables import COUNTER, Base
from videoqueue.jobs.types import ALL_OWNERS, NOBODY, Job
from videoqueue.pipeline_options import PipelineOptions
from videoqueue.sandbox import sandbox, start
from videoqueue.sandbox.protocol import LENGTH, MAX_MESSAGE_BYTES, OUTCOMES
from videoqueue.sandbox.sandbox import Sandbox
from videoqueue.services import Services
from videoqueue.settings import load_settings
from videoqueue.worker.run_job import JobRunner

VIDEO = b"not read by these children"
VERSION = {"type": "version", "version": "ab" * 32}
UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def item(index: int, **result: Any) -> dict[str, Any]:
    return {"type": "item", "item": {"frame_index": index, "result": {"timestamp": 0.04 * index} | result}}


def framed(message: object) -> bytes:
    data = message if isinstance(message, bytes) else json.dumps(message).encode()
    return LENGTH.pack(len(data)) + data


def sends(*messages: object) -> list[Step]:
    """A plan: wait for the task, then send the messages with their lengths."""
    data = b"".join(map(framed, messages))
    return [("task", b""), ("send", data)]


HONEST = sends({"type": "alive", "progress": 0.0}, VERSION, item(0), item(1), item(2), {"type": "done"})


class Worker:
    """One worker's real parts, with children that carry out plans, and the jobs of others beside it."""

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch, **changes: str) -> None:
        self._patch, self._folder = patch, folder
        settings = load_settings(
            {
                "VIDEOQUEUE_DATA_DIR": str(folder / "data"),
                "REDIS_URL": "redis://127.0.0.1:1",  # nothing here talks to the queue
                "VIDEOQUEUE_MAX_CRASHES": "1",
                "VIDEOQUEUE_MAX_ATTEMPTS": "1",
            }
            | changes
        )
        self.services: Services = services_of(create_app(settings))
        Base.metadata.create_all(self.services.engine)
        self.sandbox = Sandbox(PipelineOptions(), limits_with(log_lines=20))
        self._runner = JobRunner(self.services, self.sandbox, lambda: folder, "test", threading.Event())
        self._use(HONEST)
        ended, running = self.others = [self._submit("other"), self._submit("other")]
        self._runner.run(ended)
        self.services.store.claim(running, "another worker")

    def job_of(self, *plans: Sequence[Step], stall_seconds: float = 60) -> Job:
        """Runs a job in a new child that carries out the first plan; any further child has the next one."""
        self.sandbox.close()
        self._set_stall(stall_seconds)
        job = self.next_job_of(*plans)
        self._set_stall(60)
        return job

    def _set_stall(self, seconds: float) -> None:
        self._patch.setattr(self.sandbox, "_limits", limits_with(stall_seconds=seconds, log_lines=20))

    def next_job_of(self, *plans: Sequence[Step]) -> Job:
        """The same, in the child that is there already, if there is one."""
        self._use(*plans)
        job_id = self._submit()
        self._runner.run(job_id)
        return stored(self.services.store, job_id)

    def _use(self, *plans: Sequence[Step]) -> None:
        self._patch.setattr(start, "launch", instead_of_the_pipeline(self._folder, plans))

    def items(self, job: Job) -> list[dict[str, Any]]:
        chunks = self.services.results.chunks(job.job_id, ALL_OWNERS)
        found: list[dict[str, Any]] = json.loads(b"[" + b",".join(chunks) + b"]", parse_constant=pytest.fail)
        return found

    def rows_of_others(self) -> list[list[Any]]:
        """All of the database but the rows of hostile jobs and of their owner, and what counts their ends."""
        with self.services.engine.connect() as connection:
            tables = [table for table in Base.metadata.sorted_tables if table is not COUNTER]
            return [[tuple(row) for row in connection.execute(self._of_others(table))] for table in tables]

    def _of_others(self, table: sa.Table) -> sa.Select[Any]:
        rows = sa.select(table).order_by(*table.primary_key)
        if "owner" in table.c:
            return rows.where(table.c.owner != NOBODY)
        return rows.where(table.c.job_id.in_(self.others)) if "job_id" in table.c else rows

    def _submit(self, owner: str = NOBODY) -> uuid.UUID:
        key = f"inputs/{uuid.uuid4().hex}.mp4"
        with self.services.storage.open_writer(key) as writer:
            writer.write(VIDEO)
            writer.commit()
        return self.services.store.create(new_job(VIDEO, input_key=key, owner=owner))[0]

    def close(self) -> None:
        self.sandbox.close()
        self.services.engine.dispose()


@pytest.fixture(scope="module")
def worker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worker]:
    with (
        pytest.MonkeyPatch.context() as patch,
        closing(Worker(tmp_path_factory.mktemp("w"), patch)) as worker,
    ):
        yield worker


def assert_is_harmless(worker: Worker, job: Job, before: list[list[Any]], log: LogLines) -> None:
    """The job has ended with a clean reason or results, and nothing else is another than before."""
    assert job.status in ("completed", "failed")
    items = worker.items(job)
    indices = [item["frame_index"] for item in items]
    assert indices == sorted(set(indices))
    if job.status == "failed":
        assert job.error_message
        assert job.error_code
        assert len(job.error_message.encode()) < 2048
        assert not UNSAFE.search(job.error_message)
    assert worker.rows_of_others() == before
    _submission, *texts = log.written
    lines = [line for text in texts for line in text.split("\n")]
    assert all(not UNSAFE.search(line) and len(line) < 20_000 for line in lines)
    # What a child prints stands under its own job, or is the rest of such a line.
    assert [line for line in lines if not line.startswith(("[job_id=", "    "))] == []
    assert not any(str(other) in line for line in lines for other in worker.others)


def assert_goes_on(worker: Worker) -> None:
    job = worker.next_job_of(HONEST)
    assert (job.status, [item["frame_index"] for item in worker.items(job)]) == ("completed", [0, 1, 2])


TEXTS = st.text(
    st.characters(codec=None, categories=None) | st.sampled_from("\x00\n\x1b\ud800\u202e\U0001f600")
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXTS,
    lambda inner: st.lists(inner) | st.dictionaries(TEXTS, inner),
)
MESSAGES = st.one_of(
    st.just(VERSION),
    st.integers(-1, 5).map(item),
    st.builds(item, st.integers(0, 2**60), text=VALUES),
    st.floats().map(lambda fraction: {"type": "alive", "progress": fraction}),
    st.fixed_dictionaries(
        {"type": st.sampled_from(sorted(OUTCOMES)) | VALUES},
        optional={
            "message": TEXTS.map(lambda text: text * 3000) | VALUES,
            "code": st.sampled_from(["not_mp4", "unknown_pipeline", "internal_error"]) | VALUES,
            "width": VALUES,
            "codec": VALUES,
            "fps": VALUES,
            "job_id": st.uuids().map(str),
        },
    ),
)
FORGED = st.builds(
    lambda **fields: json.dumps(fields).encode() + b"\n",
    level=st.sampled_from(["CRITICAL", "INFO"]) | TEXTS,
    logger=st.sampled_from(["videoqueue.worker.run_job", "output"]) | TEXTS,
    message=TEXTS.map(lambda text: text * 300) | VALUES,
    exception=TEXTS | VALUES,
    job_id=st.uuids().map(str),
    reason=VALUES,
)
PRINTED = st.one_of(
    st.binary(),
    FORGED,
    st.just(
        b"\x1b[2J\r[2026-01-01T00:00:00.000Z] [worker 1] [videoqueue] [INFO] [job_id=x] Job completed.\n"
    ),
    st.binary(min_size=1).map(lambda piece: piece * 9000),
)
STEPS = st.one_of(
    MESSAGES.map(lambda message: ("send", framed(message))),
    st.binary().map(lambda data: ("send", framed(data))),
    st.binary(min_size=1).map(lambda data: ("send", data)),
    PRINTED.map(lambda text: ("print", text)),
    st.just(("close output", b"")),
)


def without_output_after_its_end(steps: list[Step]) -> list[Step]:
    """A plan that prints nothing after it has closed its output, which would only end the child."""
    closed = [number for number, (name, _) in enumerate(steps) if name == "close output"]
    return [
        step
        for number, step in enumerate(steps)
        if not closed or number <= closed[0] or step[0] not in ("print", "close output")
    ]


@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from(
        [[], [("send", framed(VERSION))], [("send", framed(VERSION)), ("send", framed(item(0)))]]
    ),
    st.lists(STEPS, max_size=6).map(without_output_after_its_end),
    st.sampled_from([[], [("send", framed({"type": "done"}))], [("die", b"")]]),
)
def test_whatever_a_child_sends_its_job_ends_and_nothing_else_changes(
    worker: Worker, log_lines: LogLines, start: list[Step], steps: list[Step], end: list[Step]
) -> None:
    before = worker.rows_of_others()
    log_lines.written.clear()
    job = worker.job_of([("task", b""), *start, *steps, *end])
    assert_is_harmless(worker, job, before, log_lines)
    assert_goes_on(worker)


STALL = "VIDEOQUEUE_STALL_TIMEOUT_SECONDS"
WIDE = {"type": "failed", "message": "\U0001f600" * 3_900_000}
#: 15 MB of numbers, which are served as 57 MB.
SHORT_NUMBERS = (
    b'{"type": "item", "item": {"frame_index": 0, "result": {"timestamp": 0, "x": ['
    + b"1e15," * 3_000_000
    + b"0]}}}"
)
HANG: Step = ("hang", b"")
HANG_UP: Step = ("close replies", b"")
MANY_LISTS = b'{"type": "item", "item": [' + b"[]," * 5_000_000 + b"0]}"
#: How a child misbehaves, the plan, and how its job must end.
CASES: dict[str, tuple[list[Step], str]] = {
    "silence": ([("task", b""), HANG], STALL),
    "silence that never reads": ([HANG], STALL),
    "half a length": ([*sends(VERSION), ("send", b"\0\0"), HANG], STALL),
    "half a message": ([*sends(VERSION), ("send", framed(item(0))[:-1]), HANG], STALL),
    "a length of 4 GB": ([("send", b"\xff" * 4)], f"larger than {MAX_MESSAGE_BYTES} bytes"),
    "the largest length alone": ([("send", LENGTH.pack(MAX_MESSAGE_BYTES)), HANG], STALL),
    "a closed pipe": ([*sends(VERSION, item(0)), HANG_UP, HANG], "closed its connection without exiting"),
    "a closed pipe, and a flood of text": (
        [*sends(VERSION), HANG_UP, ("print for ever", b"flood\n" * 999)],
        "closed its connection without exiting",
    ),
    "a line of text without an end": ([*sends(VERSION), ("print for ever", b"x" * 65536)], STALL),
    "a frame that comes twice": (sends(VERSION, item(4), item(4), {"type": "done"}), "makes no sense"),
    "frames that go back": (sends(VERSION, item(4), item(3), {"type": "done"}), "makes no sense"),
    "an end before the beginning": (sends({"type": "done"}), "makes no sense"),
    "two versions": (sends(VERSION, VERSION), "makes no sense"),
    "an end without a message": (sends(VERSION), "ended with exit code 0"),
    "an error of 15 MB": (sends({"type": "failed", "message": "x" * 15_000_000}), "x{999}…"),
    "an error of 15 MB of emoji": (
        sends(json.dumps(WIDE, ensure_ascii=False).encode()),
        "\U0001f600{499}…",
    ),
    "millions of lists": (sends(VERSION, MANY_LISTS), "more than 500000 lists, objects and names"),
    "lists in lists": (sends(VERSION, b'{"type": ' + b"[" * 200_000), "makes no sense"),
}


@pytest.mark.parametrize(("plan", "reason"), CASES.values(), ids=CASES)
def test_the_reason_says_what_the_child_did(
    worker: Worker, log_lines: LogLines, plan: list[Step], reason: str
) -> None:
    before = worker.rows_of_others()
    job = worker.job_of(plan, stall_seconds=1 if reason == STALL else 60)
    assert job.status == "failed"
    assert re.search(reason, job.error_message or ""), job.error_message
    assert_is_harmless(worker, job, before, log_lines)
    assert_goes_on(worker)


@pytest.mark.parametrize("flood", ["send for ever", "print for ever"])
def test_what_never_ends_is_ended_by_the_time_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flood: str
) -> None:
    alive = framed({"type": "alive", "progress": 0.5})
    with closing(Worker(tmp_path, monkeypatch, VIDEOQUEUE_JOB_TIMEOUT_SECONDS="1")) as worker:
        job = worker.job_of([*sends(VERSION), (flood, alive)])
    assert (job.status, job.error_code) == ("failed", "job_timeout")


def test_progress_that_falls_is_not_shown_and_claims_for_other_jobs_are_ignored(worker: Worker) -> None:
    before = worker.rows_of_others()
    other = str(worker.others[1])
    claim = {**item(0), "job_id": other, "attempt": 9}
    falling = [{"type": "alive", "progress": progress} for progress in (0.9, 0.1, -5, 1e300)]
    job = worker.job_of(sends(VERSION, *falling, claim, {"type": "done", "job_id": other}))
    assert (job.status, job.progress) == ("completed", 1.0)
    assert [item["frame_index"] for item in worker.items(job)] == [0]
    assert worker.rows_of_others() == before


@pytest.mark.parametrize(
    "late",
    [
        [("send", framed(item(7)) + framed({"type": "done"}))],
        [("send", framed({"type": "bad_video", "code": "not_mp4", "message": "late"}))],
        [("send", b"\xff")],
        [("clog", b"")],
        [("close replies", b""), ("hang", b"")],
    ],
    ids=["results", "an outcome", "half a length", "a full pipe of tasks", "a closed pipe"],
)
def test_what_a_child_does_after_its_end_does_no_harm_to_the_next_job(
    worker: Worker, late: list[Step]
) -> None:
    """Wherever it comes in the next job's way: before its task, or just behind it."""
    first = worker.job_of([*HONEST, *late, ("task", b""), ("hang", b"")])
    assert first.status == "completed"
    before = worker.items(first)
    assert_goes_on(worker)
    assert worker.items(first) == before


def test_a_result_that_grows_when_it_is_served_fails_the_job_at_once(
    worker: Worker, log_lines: LogLines
) -> None:
    job = worker.job_of(sends(VERSION, SHORT_NUMBERS, {"type": "done"}))
    assert (job.status, job.error_code, job.attempt) == ("failed", "results_too_large", 1)
    assert job.error_message == (
        f"The result of a frame is larger than {MAX_MESSAGE_BYTES} bytes. Use another pipeline."
    )
    assert worker.items(job) == []
    assert not any("bug" in line for line in log_lines.written)
    assert_goes_on(worker)


ALIVE = {"type": "alive", "progress": 0.0}
DIE: Step = ("die", b"")
LATE_FAILURE = {"type": "bad_video", "code": "not_mp4", "message": "late"}
#: What a reused child does with its next task instead of beginning it.
FAILURES_TO_BEGIN: dict[str, list[Step]] = {
    "silence": [HANG],
    "text without a message": [("print for ever", b"flood\n" * 999)],
    "half a length": [("send", b"\0\0"), HANG],
    "half a message": [("send", framed(ALIVE)[:-1]), HANG],
    "an end": [],
    "a crash": [DIE],
    "a closed pipe": [HANG_UP, HANG],
    "a crash behind the acknowledgement": [("send", framed(ALIVE)), DIE],
    "a message that makes no sense": [("send", framed(b"{}")), HANG],
    "too long a message": [("send", b"\xff" * 4), HANG],
    "too many lists": [("send", framed(MANY_LISTS)), HANG],
    "an end of an earlier job": [("send", framed(LATE_FAILURE)), HANG],
    "results of an earlier job": [("send", framed(VERSION) + framed(item(0))), HANG],
}


@pytest.mark.parametrize("steps", FAILURES_TO_BEGIN.values(), ids=FAILURES_TO_BEGIN)
def test_a_job_that_a_reused_child_does_not_begin_starts_again_in_a_new_one(
    worker: Worker, monkeypatch: pytest.MonkeyPatch, steps: list[Step]
) -> None:
    monkeypatch.setattr(sandbox, "_ACKNOWLEDGE_SECONDS", 0.5)
    first = worker.job_of([*HONEST, ("task", b""), *steps])
    assert first.status == "completed"
    job = worker.next_job_of(HONEST)
    assert (job.status, job.attempt, job.crashes, job.failures) == ("completed", 1, 0, 0)
    assert [item["frame_index"] for item in worker.items(job)] == [0, 1, 2]


def test_a_crash_of_a_reused_child_that_has_begun_is_that_of_its_job(worker: Worker) -> None:
    worker.job_of([*HONEST, *sends(ALIVE, VERSION), DIE])
    job = worker.next_job_of(HONEST)
    assert (job.status, job.crashes) == ("failed", 1)
    assert_goes_on(worker)


def test_a_child_that_is_gone_leaves_no_process(worker: Worker) -> None:
    worker.job_of([*sends(VERSION), ("die", b"")])
    assert not any("hostile_child" in " ".join(child.cmdline()) for child in psutil.Process().children())
