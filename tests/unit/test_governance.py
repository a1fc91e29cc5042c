"""Every rule of `scripts/validate_governance` sees its violation planted in a copy, and nothing else."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.prober import Prober

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "scripts"))

from governance.rules import RULES, check  # noqa: E402
from governance.tree import PROBE, Tree  # noqa: E402

Plant = tuple[str, str, str]  # rule, file, code to append

#: Seen in the code itself: the application is as it was.
IN_CODE: list[Plant] = [
    ("streaming-library", "videoqueue/api/health.py", "def push():\n    import flask_socketio"),
    ("streaming-library", "videoqueue/cli/client.py", "def push():\n    from websockets.sync import client"),
    (
        "streaming-library",
        "videoqueue/app.py",
        "def push():\n    importlib.import_module('simple_websocket')",
    ),
    ("streaming-library", "requirements.txt", "websockets==15.0 \\\n    --hash=sha256:0"),
    ("streaming-route", "videoqueue/api/health.py", "MEDIA_TYPE = 'text/event-stream; charset=utf-8'"),
    ("streaming-route", "videoqueue/server/config.py", "HEADERS = {'Sec-WebSocket-Accept': ''}"),
    ("frame-progress", "videoqueue/jobs/workers.py", "def note(done):\n    return {'progress': done}"),
    ("frame-progress", "videoqueue/jobs/store.py", "def note(job, n):\n    job.values(progress=n / 100)"),
    ("job-states", "videoqueue/jobs/tables.py", "STATUSES = (*STATUSES, 'paused')"),
    ("result-item", "videoqueue/supervisor/output.py", "ITEM = {'frame_index': 0, 'result': {}, 'node': ''}"),
    ("gpu", "videoqueue/pipeline/plugin.py", "def load():\n    import torch.cuda"),
    ("gpu", "requirements.txt", "onnxruntime-gpu==1.20.0"),
    (
        "gpu",
        "videoqueue/pipeline/plugin.py",
        "def load(core, model):\n    core.compile_model(model, DEVICE)",
    ),
    ("gpu", "videoqueue/pipeline/plugin.py", "def load(core, model):\n    core.compile_model(model)"),
    ("gpu", "videoqueue/pipeline/plugin.py", "def load(c, m, d):\n    c.compile_model(m, device_name=d)"),
    ("gpu", "videoqueue/pipeline/plugin.py", "DEVICE = 'GPU.0'"),
    ("gpu", "videoqueue/pipeline/plugin.py", "PROVIDERS = ['CUDAExecutionProvider']"),
    ("gpu", "videoqueue/pipeline/decode/decoder.py", "def fast(av, p):\n    av.open(p, hwaccel=True)"),
    (
        "worker-channel",
        "videoqueue/maintenance/sweeper.py",
        "def tell(c):\n    c.publish('jobs', '')",
    ),
    ("worker-channel", "videoqueue/worker/lease.py", "def wait(client):\n    client.pubsub()"),
    ("worker-channel", "videoqueue/maintenance/sweeper.py", "import socket\nPEER = lambda: socket.socket()"),
    ("worker-channel", "videoqueue/cli/up.py", "def serve(door):\n    door.listen()"),
    ("worker-channel", "videoqueue/worker/actors.py", "def spread():\n    from ray import remote"),
    ("worker-channel", "videoqueue/jobs/workers.py", "WAKE = 'NOTIFY jobs'"),
    ("worker-channel", "requirements.txt", "celery==5.5.0"),
    ("one-queue", "videoqueue/maintenance/sweeper.py", "def again(broker, m):\n    broker.enqueue(m)"),
    ("one-queue", "videoqueue/broker.py", "def again(broker, m):\n    broker.enqueue(m)"),
    ("one-queue", "videoqueue/worker/entry.py", "def again(id):\n    process_video.send(id)"),
    ("one-queue", "videoqueue/worker/actors.py", "def chain():\n    from dramatiq import pipeline"),
    ("one-pipeline", "videoqueue/sandbox/sandbox.py", "def run(pipeline_ids: list[str]): ..."),
    ("one-pipeline", "videoqueue/pipeline/service.py", "def run(path: str, pipeline_id: list[str]): ..."),
    ("one-pipeline", "videoqueue/jobs/types.py", "class Step:\n    depends_on: str = ''"),
]

#: Seen in what the built application has or answers.
IN_APPLICATION: list[Plant] = [
    (
        "streaming-route",
        "videoqueue/api/health.py",
        "@blueprint.route('/live', websocket=True)\ndef live(): ...",
    ),
    (
        "status-fields",
        "videoqueue/api/schemas.py",
        "class JobStatus(JobStatus):\n    stage = fields.String(dump_default='')",
    ),
    ("frame-progress", "videoqueue/jobs/changes.py", "def tenths(progress):\n    return round(progress, 2)"),
    (
        "frame-progress",
        "videoqueue/jobs/tables.py",
        "JobRow.frames_done = mapped_column(sa.Integer, default=0)",
    ),
    (
        "running-job",
        "videoqueue/api/job_schemas.py",
        "class JobDescription(JobDescription):\n    done_at = Timestamp(attribute='lease_until')",
    ),
    (
        "running-job",
        "videoqueue/api/job_schemas.py",
        "class Part(JobVideo):\n    seen = Timestamp(attribute='lease_until')\n"
        "class JobDescription(JobDescription):\n    video = fields.Nested(Part)",
    ),
    (
        "running-job",
        "videoqueue/api/jobs.py",
        "_one = _described\ndef _described(found):\n    said = _one(found)\n"
        "    said.attempt += sum(map(len, services_of(current_app).results.chunks(said.job_id, '')))\n"
        "    return said",
    ),
    (
        "running-job",
        "videoqueue/api/schemas.py",
        "class JobStatus(JobStatus):\n    created_at = fields.Function(lambda job: job.updated_at)",
    ),
    (
        "running-metrics",
        "videoqueue/jobs/changes.py",
        "from videoqueue.jobs import counters\n_update = update_fenced\n"
        "def update_fenced(connection, claim, changes):\n"
        "    _update(connection, claim, changes)\n"
        "    counters.raise_counters(connection, claim.job_id, [counters.Count('frames', ('ocr_only',))])",
    ),
    (
        "frame-progress",
        "videoqueue/api/job_schemas.py",
        "class JobSummary(JobSummary):\n    frames_done = fields.Integer(dump_default=0)",
    ),
    (
        "queue-payload",
        "videoqueue/broker.py",
        "def announce(broker, job_id):\n"
        "    kwargs = {'job_id': str(job_id), 'pipeline_id': 'yolo_ocr'}\n"
        "    broker.enqueue(Message(QUEUE, ACTOR, (), kwargs, {}))",
    ),
    (
        "queue-payload",
        "videoqueue/worker/actors.py",
        "def declare(broker, run, max_retries):\n"
        "    @dramatiq.actor(broker=broker, actor_name=ACTOR, queue_name=QUEUE)\n"
        "    def process_video(job_id, pipeline_id): ...",
    ),
    (
        "video-endpoints",
        "videoqueue/api/video.py",
        "@blueprint.delete('/jobs/<job_id>')\ndef cancel(job_id): ...",
    ),
    ("video-endpoints", "videoqueue/api/health.py", "@blueprint.get('/video/frames')\ndef frames(): ..."),
    (
        "video-endpoints",
        "videoqueue/api/video.py",
        "@blueprint.route('/status/<job_id>', methods=['PUT'])\ndef change(job_id): ...",
    ),
    (
        "result-item",
        "videoqueue/pipeline/service.py",
        "_bare = _item\ndef _item(turn):\n    return dict(_bare(turn), worker='')",
    ),
    (
        "result-item",
        "videoqueue/api/schemas.py",
        "class Frame(Schema):\n    frame_index = fields.Integer()\n    boxes = fields.Raw()",
    ),
    (
        "one-queue",
        "videoqueue/broker.py",
        "_one = build_broker\ndef build_broker(redis_url, middleware=(), **options):\n"
        "    broker = _one(redis_url, middleware, **options)\n"
        "    broker.declare_queue('urgent')\n    return broker",
    ),
    (
        "one-queue",
        "videoqueue/worker/actors.py",
        "_one = declare\ndef declare(broker, run, max_retries):\n    _one(broker, run, max_retries)\n"
        "    dramatiq.actor(broker=broker, actor_name='merge', queue_name=QUEUE)(lambda job_id: None)",
    ),
    ("one-pipeline", "videoqueue/jobs/tables.py", "JobRow.pipelines = mapped_column(sa.JSON, nullable=True)"),
    (
        "one-pipeline",
        "videoqueue/jobs/tables.py",
        "ResultChunk.pipeline_id = mapped_column(sa.String(100), nullable=True)",
    ),
    (
        "one-pipeline",
        "videoqueue/jobs/tables.py",
        "JobRow.after = mapped_column(sa.ForeignKey('job.job_id'), nullable=True)",
    ),
    (
        "one-pipeline",
        "videoqueue/api/schemas.py",
        "class Batch(Schema):\n    pipeline_id = fields.List(fields.String())",
    ),
    (
        "one-pipeline",
        "videoqueue/api/job_schemas.py",
        "class JobSummary(JobSummary):\n    pipelines = fields.List(fields.String())",
    ),
    (
        "video-endpoints",
        "videoqueue/api/jobs.py",
        "@blueprint.get('/video/jobs')\ndef jobs(): ...",
    ),
]

#: Put behind a text that stands in the file: rule, file, that text, the addition.
EDITS = [
    ("streaming-library", "pyproject.toml", "\ndependencies = [", '"flask-sock>=0.7",'),
    ("gpu", "pyproject.toml", "\ndependencies = [", '"cupy-cuda12x",'),
    ("worker-channel", "pyproject.toml", "\ndependencies = [", '"dask[distributed]>=2026",'),
    ("job-states", "videoqueue/jobs/tables.py", "sa.CheckConstraint(_one_of(STATUSES", " + ('paused',)"),
    (
        "frame-progress",
        "videoqueue/jobs/tables.py",
        '"finished_at IS NOT NULL OR (',
        "damaged_frames IS NOT NULL OR ",
    ),
    (
        "frame-progress",
        "videoqueue/jobs/tables.py",
        "\"status = 'completed' OR ",
        "result_bytes >= 0 OR ",
    ),
    (
        "gpu",
        "videoqueue/settings/pipeline.py",
        "\nclass PipelineSettings:\n",
        "    device: int = setting('VIDEOQUEUE_GPU_DEVICE', whole(0), 0, 'device', '')\n",
    ),
]


@pytest.fixture(scope="module")
def whole_copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the rules look at: the package without its weights, and what it requires.

    The compiled modules come along: they are valid as long as the times of the files are.
    """
    root = tmp_path_factory.mktemp("governance") / "copy"
    ignored = shutil.ignore_patterns("weights", "*.onnx", "*.xml", "*.bin")
    shutil.copytree(ROOT / "videoqueue", root / "videoqueue", ignore=ignored)
    for name in ("pyproject.toml", "requirements.txt"):
        shutil.copy(ROOT / name, root / name)
    return root


class Copy:
    """A copy of the tree, in which a test plants something."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._planted: list[str] = []

    def plant(self, file: str, change: Callable[[str], str]) -> None:
        path = self.root / file
        before = path.read_text()
        path.write_text(change(before))
        assert path.read_text() != before
        self._planted.append(file)

    def restore(self) -> None:
        for file in self._planted:
            shutil.copy2(ROOT / file, self.root / file)


@pytest.fixture
def copy(whole_copy: Path) -> Iterator[Copy]:
    copy = Copy(whole_copy)
    yield copy
    copy.restore()


@pytest.fixture(scope="module")
def served() -> dict[str, Any]:
    return Tree(ROOT).served


@pytest.fixture(scope="module")
def prober() -> Iterator[Prober]:
    with Prober(PROBE) as prober:
        yield prober


@pytest.fixture
def quick(prober: Prober, monkeypatch: pytest.MonkeyPatch) -> None:
    """The application of a tree is probed by a process that has imported its packages before."""
    monkeypatch.setattr("governance.tree.run_probe", prober.probe)


def test_this_tree_breaks_no_rule(served: dict[str, Any]) -> None:
    assert check(Tree(ROOT)) == []


@pytest.mark.parametrize(("rule", "file", "code"), IN_CODE)
def test_a_violation_in_the_code_is_seen(
    copy: Copy, served: dict[str, Any], rule: str, file: str, code: str
) -> None:
    lines = (copy.root / file).read_text().count("\n")
    copy.plant(file, lambda text: f"{text}\n{code}\n")
    tree = Tree(copy.root)
    tree.__dict__["served"] = served
    faults = check(tree)
    assert [(fault.rule, fault.file) for fault in faults] == [(rule, file)]
    assert faults[0].line > lines


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(("rule", "file", "code"), IN_APPLICATION)
def test_a_violation_in_the_application_is_seen(copy: Copy, rule: str, file: str, code: str) -> None:
    copy.plant(file, lambda text: f"{text}\n{code}\n")
    faults = check(Tree(copy.root))
    assert {fault.rule for fault in faults} == {rule}, faults


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(("rule", "file", "behind", "added"), EDITS)
def test_a_changed_line_is_seen(
    copy: Copy, served: dict[str, Any], rule: str, file: str, behind: str, added: str
) -> None:
    copy.plant(file, lambda text: text.replace(behind, behind + added, 1))
    tree = Tree(copy.root)
    if not file.endswith(".py"):
        tree.__dict__["served"] = served
    faults = check(tree)
    assert [(fault.rule, fault.file) for fault in faults] == [(rule, file)], faults


def test_every_rule_has_a_violation_that_is_seen() -> None:
    assert {case[0] for case in [*IN_CODE, *IN_APPLICATION, *EDITS]} == set(RULES)


def test_prose_may_say_anything(copy: Copy, served: dict[str, Any]) -> None:
    prose = (
        '# No websockets, no GPU.\ndef f():\n    """Not text/event-stream, nor NOTIFY jobs, nor CUDA."""\n'
    )
    copy.plant("videoqueue/maintenance/sweeper.py", lambda text: f"{text}\n{prose}")
    tree = Tree(copy.root)
    tree.__dict__["served"] = served
    assert check(tree) == []


def test_an_application_that_cannot_be_built_is_a_fault(copy: Copy) -> None:
    copy.plant("videoqueue/api/video.py", lambda text: f"{text}\nimport no_such_module\n")
    assert [fault.rule for fault in check(Tree(copy.root))] == ["application"]


def test_the_script_prints_a_line_for_each_fault_and_ends_with_1(copy: Copy) -> None:
    copy.plant("videoqueue/worker/lease.py", lambda text: f"{text}\nimport ray\nimport celery\n")
    done = run_script(str(copy.root))
    assert done.returncode == 1
    assert [line.split(": ")[1:] for line in done.stderr.splitlines()] == [
        ["worker-channel", "ray is imported. Workers meet in the database alone."],
        ["worker-channel", "celery is imported. Workers meet in the database alone."],
    ]


def test_the_script_lists_its_rules() -> None:
    done = run_script("--list")
    assert done.returncode == 0
    assert [line.split()[0] for line in done.stdout.splitlines()] == list(RULES)


def test_the_script_refuses_a_folder_that_is_no_source_tree(tmp_path: Path) -> None:
    done = run_script(str(tmp_path))
    assert done.returncode == 2
    assert "has no folder videoqueue" in done.stderr


def run_script(*arguments: str) -> subprocess.CompletedProcess[str]:
    """As the script does after it has seen to .venv."""
    return subprocess.run(
        [sys.executable, "-m", "governance", *arguments],
        env={"PYTHONPATH": str(ROOT / "scripts"), "PATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )
