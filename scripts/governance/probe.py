"""Builds the application of a source tree, takes one job through it, prints as JSON what it has and served.

Usage: python probe.py ROOT

A process of its own, so that the tree judged need not be the one that judges. Nothing listens, nothing
connects: SQLite and a folder in a temporary place, a queue that only notes what is put on it, and the first
frames of the sample video through a pipeline whose only plugin says the same of every frame.
"""

from __future__ import annotations

import inspect
import io
import json
import sys
import tempfile
import uuid
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from videoqueue.pipeline.results import FrameItem

SAMPLE = Path("videoqueue/cli/sample.mp4")
FRAMES = 2


def main(root: Path) -> None:
    sys.path.insert(0, str(root))
    import videoqueue.app
    from videoqueue.api.extension import services_of
    from videoqueue.jobs.tables import Base
    from videoqueue.settings import load_settings

    if not Path(videoqueue.app.__file__).is_relative_to(root):
        sys.exit(f"videoqueue was imported from elsewhere, not from {root}")
    with tempfile.TemporaryDirectory(prefix="governance-") as folder:
        environ = {
            "VIDEOQUEUE_DATA_DIR": folder,
            "REDIS_URL": "redis://127.0.0.1:1/0",
            "VIDEOQUEUE_BACKEND_TIMEOUT_SECONDS": "60",  # however busy the machine is
        }
        app = videoqueue.app.create_app(load_settings(environ))
        services = services_of(app)
        Base.metadata.create_all(services.store.engine)
        facts = {
            "routes": routes(app, root),
            "schemas": schemas(root),
            "tables": tables(root),
            "settings": settings(root),
            "steps": steps(),
            "queue": queue(),
        }
        facts["job"] = one_job(app, services, root / SAMPLE)
        services.store.engine.dispose()
    print(json.dumps(facts))


def routes(app: Any, root: Path) -> list[dict[str, Any]]:
    return [
        {
            "path": rule.rule,
            "methods": sorted((rule.methods or set()) - {"HEAD", "OPTIONS"}),
            "blueprint": rule.endpoint.rpartition(".")[0],
            "websocket": bool(rule.websocket),
            **place(app.view_functions[rule.endpoint], root),
        }
        for rule in app.url_map.iter_rules()
    ]


def schemas(root: Path) -> dict[str, dict[str, Any]]:
    from marshmallow import Schema

    found = {}
    for module in loaded("videoqueue.api"):
        for name, kind in inspect.getmembers(module, inspect.isclass):
            if issubclass(kind, Schema) and kind.__module__ == module.__name__:
                fields = {field.data_key or key: kinds(field) for key, field in kind().fields.items()}
                found[name] = {"fields": fields, **place(kind, root)}
    return found


def tables(root: Path) -> dict[str, dict[str, Any]]:
    import sqlalchemy as sa

    from videoqueue.jobs.tables import Base

    found = {}
    for mapper in Base.registry.mappers:
        table: Any = mapper.local_table
        found[table.name] = {
            "columns": {column.name: str(column.type) for column in table.columns},
            "checks": [
                str(rule.sqltext) for rule in table.constraints if isinstance(rule, sa.CheckConstraint)
            ],
            "refers_to": [key.column.table.name for key in table.foreign_keys],
            **place(mapper.class_, root),
        }
    return found


def settings(root: Path) -> dict[str, dict[str, Any]]:
    from dataclasses import fields

    from videoqueue.settings import Settings

    places = {table: place(table, root) for table in Settings.__bases__}
    return {entry.metadata["name"]: places[table] for table in places for entry in fields(table)}


def steps() -> list[float]:
    """Every value of progress that the store writes before the end."""
    from videoqueue.jobs.changes import tenths

    return sorted({tenths(thousandth / 1000) for thousandth in range(1001)})


def queue() -> dict[str, Any]:
    """The queues and actors of a worker process, each actor with its parameters."""
    from dramatiq.middleware import Retries

    from videoqueue.broker import build_broker
    from videoqueue.worker import actors

    broker = build_broker("redis://127.0.0.1:1/0", [Retries()])
    actors.declare(broker, lambda job_id: None, 1)
    return {
        "queues": sorted(broker.get_declared_queues()),
        "actors": {
            name: list(inspect.signature(found.fn).parameters) for name, found in broker.actors.items()
        },
    }


def one_job(app: Any, services: Any, video: Path) -> dict[str, Any]:
    """Submits the video, does what a worker does. Returns what was announced and what the client received."""
    from videoqueue.jobs.results import encode
    from videoqueue.jobs.types import ALL_OWNERS

    announced: list[Any] = []
    services.broker.enqueue = lambda message, delay=None: announced.append(message)
    client = app.test_client()
    form = {"file": (io.BytesIO(video.read_bytes()), "video.mp4", "video/mp4")}
    accepted = answered(client.post("/video/submit", data=form), 202)
    job_id = uuid.UUID(accepted["job_id"])
    items = frames(video)
    claim = services.store.claim(job_id, "governance")
    claim = services.store.begin(claim, "0" * 64)
    running, metrics = [], [samples(client)]
    for seq, item in enumerate(items):  # as many chunks as frames, all within one tenth
        services.store.checkpoint(claim, seq, encode([item]), [item["frame_index"]], 0.41 + seq * 0.04)
        services.store.renew(claim)
        running.append(said_about(client, job_id))
        metrics.append(samples(client))
    status = answered(client.get(f"/video/status/{job_id}"), 200)
    writable = written_while_running(services.store.engine, job_id)
    services.store.complete(claim, services.results.etag(job_id, ALL_OWNERS))
    results = answered(client.get(f"/video/results/{job_id}"), 200)
    return {
        "messages": [{"args": list(found.args), "kwargs": found.kwargs} for found in announced],
        "job_id": str(job_id),
        "status": status,
        "running": running,
        "metrics": metrics,
        "written_while_running": writable,
        "items": results["results"],
    }


def said_about(client: Any, job_id: uuid.UUID) -> dict[str, Any]:
    """What each address says about the only job, with nested fields as `video.width`."""
    listed = answered(client.get("/jobs"), 200)["jobs"]
    return {
        "/video/status": answered(client.get(f"/video/status/{job_id}"), 200),
        "/jobs": flat(listed[0]),
        "/jobs/{job_id}": flat(answered(client.get(f"/jobs/{job_id}"), 200)),
    }


def samples(client: Any) -> dict[str, str]:
    """Every value in /metrics, by its name and labels."""
    response = client.get("/metrics")
    if response.status_code != 200:
        sys.exit(f"/metrics answered {response.status_code}: {response.get_data(as_text=True)}")
    lines = response.get_data(as_text=True).splitlines()
    return dict(line.rsplit(" ", 1) for line in lines if not line.startswith("#"))


def flat(fields: dict[str, Any]) -> dict[str, Any]:
    found = {}
    for name, value in fields.items():
        inner = flat(value) if isinstance(value, dict) else {}
        found.update({f"{name}.{key}": part for key, part in inner.items()} or {name: value})
    return found


def written_while_running(engine: Any, job_id: uuid.UUID) -> list[str]:
    """The nullable numbers that the database lets anybody write into the row of a running job."""
    import sqlalchemy as sa

    from videoqueue.jobs.tables import JOB

    taken = []
    for column in JOB.columns:
        if column.nullable and isinstance(column.type, sa.Integer | sa.Float):
            write = sa.update(JOB).where(JOB.c.job_id == job_id).values({column.name: 1})
            with engine.connect() as connection:  # never committed
                try:
                    connection.execute(write)
                    taken.append(column.name)
                except sa.exc.IntegrityError:
                    pass
    return taken


def answered(answer: Any, code: int) -> dict[str, Any]:
    if answer.status_code != code:
        sys.exit(f"{answer.request.path} answered {answer.status_code}: {answer.get_data(as_text=True)}")
    body: dict[str, Any] = answer.get_json()
    return body


def frames(video: Path) -> list[FrameItem]:
    from videoqueue.pipeline.definitions.definition import Node, PipelineDefinition
    from videoqueue.pipeline.plugin import Manifest, PluginOptions, Tool
    from videoqueue.pipeline.registry import PluginRegistry
    from videoqueue.pipeline.service import VideoFilePipelineService

    class Constant:
        manifest = Manifest("constant", "1", {"say": Tool({"image": "image"}, {"said": "text"})})

        def run_tool(self, tool: str, inputs: Any) -> dict[str, Any]:
            return {"said": "frame"}

    pipeline = PipelineDefinition("probe", "", (Node("say", "constant", "say"),), (), ("say",), ("say",))
    registry = PluginRegistry(PluginOptions(), {"constant": lambda options: Constant()})
    service = VideoFilePipelineService({"probe": pipeline}, registry)
    return service.run_on_file(video, "probe", max_frames=FRAMES)


def loaded(package: str) -> list[ModuleType]:
    return [module for name, module in sys.modules.items() if name.startswith(f"{package}.")]


def kinds(field: Any) -> list[str]:
    """The names of a field's class and of those it derives from."""
    return [kind.__name__ for kind in type(field).__mro__ if kind.__module__ != "builtins"]


def place(thing: Any, root: Path) -> dict[str, Any]:
    thing = inspect.unwrap(thing)
    path = Path(inspect.getsourcefile(thing) or "")
    file = path.relative_to(root).as_posix() if path.is_relative_to(root) else path.name
    return {"file": file, "line": inspect.getsourcelines(thing)[1]}


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
