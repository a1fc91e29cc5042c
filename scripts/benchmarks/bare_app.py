"""What the service is measured against: the least a WSGI application can do on the same gunicorn.

    POST /upload      writes the raw body to a file and syncs it
    GET  /row/<id>    a bare Flask route, one indexed read of the same table

BARE_FOLDER is where uploads go, BARE_DATABASE the SQLAlchemy URL of the service's database.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from flask import Flask, abort, jsonify

FOLDER = Path(os.environ["BARE_FOLDER"])
_PIECE = 256 * 1024

flask_app = Flask(__name__, static_folder=None)
_engine = sa.create_engine(os.environ["BARE_DATABASE"], pool_size=20)
_jobs = sa.table("job", sa.column("job_id", sa.Uuid), sa.column("status"), sa.column("progress"))


@flask_app.get("/row/<uuid:job_id>")
def row(job_id: uuid.UUID) -> Any:
    with _engine.connect() as connection:
        found = connection.execute(sa.select(_jobs).where(_jobs.c.job_id == job_id)).one_or_none()
    if found is None:
        abort(404)
    return jsonify(job_id=str(found.job_id), status=found.status, progress=found.progress)


def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    if environ["PATH_INFO"] != "/upload":
        return flask_app(environ, start_response)
    body = environ["wsgi.input"]
    path = FOLDER / uuid.uuid4().hex
    with path.open("wb") as file:
        while piece := body.read(_PIECE):
            file.write(piece)
        file.flush()
        os.fsync(file.fileno())
    path.unlink()
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "3")])
    return [b"ok\n"]
