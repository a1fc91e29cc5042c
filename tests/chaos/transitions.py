"""A log that the service cannot forget to write: the database itself notes every change of a job's status,
its deletion, and every later write to a job that has ended.

The triggers belong to the harness; the product has none. Times are microseconds since 1970.
"""

from __future__ import annotations

import uuid
from collections import defaultdict
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.engine import Engine

TERMINAL = ("completed", "failed")
#: Noted for a job whose row is removed; no status of the service.
DELETED = "deleted"

_POSTGRES = """
CREATE TABLE transition (id bigserial PRIMARY KEY, job_id text NOT NULL, before text, after text NOT NULL,
                         attempt integer NOT NULL, at bigint NOT NULL);
CREATE TABLE stored_chunk (id bigserial PRIMARY KEY, job_id text NOT NULL, at bigint NOT NULL);
CREATE FUNCTION microseconds() RETURNS bigint LANGUAGE sql VOLATILE AS
  $$ SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint $$;
CREATE FUNCTION note_transition() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
  IF TG_OP = 'DELETE' THEN
    INSERT INTO transition (job_id, before, after, attempt, at)
      VALUES (OLD.job_id::text, OLD.status, 'deleted', OLD.attempt, microseconds());
  ELSIF TG_OP = 'INSERT' THEN
    INSERT INTO transition (job_id, before, after, attempt, at)
      VALUES (NEW.job_id::text, NULL, NEW.status, NEW.attempt, microseconds());
  ELSIF OLD.status <> NEW.status OR OLD.status IN ('completed', 'failed') AND OLD.updated_at <> NEW.updated_at
  THEN
    INSERT INTO transition (job_id, before, after, attempt, at)
      VALUES (NEW.job_id::text, OLD.status, NEW.status, NEW.attempt, microseconds());
  END IF;
  RETURN NULL; END $$;
CREATE FUNCTION note_chunk() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
  INSERT INTO stored_chunk (job_id, at) VALUES (NEW.job_id::text, microseconds());
  RETURN NULL; END $$;
CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
  RAISE EXCEPTION 'the transition log is append-only'; END $$;
CREATE TRIGGER note_transition AFTER INSERT OR UPDATE OR DELETE ON job
  FOR EACH ROW EXECUTE FUNCTION note_transition();
CREATE TRIGGER note_chunk AFTER INSERT ON result_chunk FOR EACH ROW EXECUTE FUNCTION note_chunk();
CREATE TRIGGER refuse_change BEFORE UPDATE OR DELETE OR TRUNCATE ON transition
  FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()
"""

_NOW = "CAST((julianday('now') - 2440587.5) * 86400000000 AS INTEGER)"
_NOTE = "INSERT INTO transition (job_id, before, after, attempt, at) VALUES"
_SQLITE = f"""
CREATE TABLE transition (id INTEGER PRIMARY KEY AUTOINCREMENT, job_id TEXT NOT NULL, before TEXT,
                         after TEXT NOT NULL, attempt INTEGER NOT NULL, at INTEGER NOT NULL);
CREATE TABLE stored_chunk (id INTEGER PRIMARY KEY AUTOINCREMENT, job_id TEXT NOT NULL, at INTEGER NOT NULL);
CREATE TRIGGER note_insert AFTER INSERT ON job BEGIN
  {_NOTE} (NEW.job_id, NULL, NEW.status, NEW.attempt, {_NOW}); END;
CREATE TRIGGER note_update AFTER UPDATE ON job
  WHEN OLD.status <> NEW.status OR OLD.status IN ('completed', 'failed') AND OLD.updated_at <> NEW.updated_at
  BEGIN
  {_NOTE} (NEW.job_id, OLD.status, NEW.status, NEW.attempt, {_NOW}); END;
CREATE TRIGGER note_delete AFTER DELETE ON job BEGIN
  {_NOTE} (OLD.job_id, OLD.status, 'deleted', OLD.attempt, {_NOW}); END;
CREATE TRIGGER note_chunk AFTER INSERT ON result_chunk BEGIN
  INSERT INTO stored_chunk (job_id, at) VALUES (NEW.job_id, {_NOW}); END;
CREATE TRIGGER refuse_update BEFORE UPDATE ON transition BEGIN
  SELECT RAISE(ABORT, 'the transition log is append-only'); END;
CREATE TRIGGER refuse_delete BEFORE DELETE ON transition BEGIN
  SELECT RAISE(ABORT, 'the transition log is append-only'); END
"""


@dataclass(frozen=True)
class Transition:
    job_id: uuid.UUID
    before: str | None
    after: str
    attempt: int
    at: int

    @property
    def ends(self) -> bool:
        return self.after in TERMINAL


class TransitionLog:
    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def install(self) -> None:
        """Makes tables and triggers in a database that has been migrated."""
        raw = self._engine.raw_connection()
        try:
            cursor = raw.cursor()
            if self._engine.dialect.name == "sqlite":
                cursor.executescript(_SQLITE)
            else:
                cursor.execute(_POSTGRES)
            raw.commit()
        finally:
            raw.close()

    def transitions(self) -> list[Transition]:
        """In the order in which they were committed."""
        query = sa.text("SELECT job_id, before, after, attempt, at FROM transition ORDER BY id")
        with self._engine.connect() as connection:
            return [Transition(uuid.UUID(job_id), *rest) for job_id, *rest in connection.execute(query).all()]

    def by_job(self) -> dict[uuid.UUID, list[Transition]]:
        grouped: dict[uuid.UUID, list[Transition]] = defaultdict(list)
        for transition in self.transitions():
            grouped[transition.job_id].append(transition)
        return grouped

    def chunks(self) -> dict[uuid.UUID, list[int]]:
        """When each job's chunks were stored."""
        grouped: dict[uuid.UUID, list[int]] = defaultdict(list)
        with self._engine.connect() as connection:
            for job_id, at in connection.execute(sa.text("SELECT job_id, at FROM stored_chunk ORDER BY id")):
                grouped[uuid.UUID(job_id)].append(at)
        return grouped
