"""the encoding of a chunk, the time of its first item, and its size as served

Revision: 0007, after 0006. Adds only, so that processes of the version before go on working. They cannot read
the chunks of this version: see "Updating" in docs/deploying.md. Down, these chunks become JSON again.
"""

import sqlalchemy as sa
from alembic import context, op

from videoqueue.jobs.chunk_decoding import json_of

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

_COLUMNS = {
    "encoding": sa.String(length=16),
    "first_time": sa.Float(),
    "served_bytes": sa.BigInteger(),
}
#: Chunks that are in memory at the same time. Each is at most 32 MiB, decoded.
_BATCH = 4

_CHUNK = sa.table(
    "result_chunk",
    sa.column("job_id", sa.Uuid()),
    sa.column("seq", sa.Integer()),
    sa.column("payload", sa.LargeBinary()),
    sa.column("encoding", sa.String()),
)
_KEY = (_CHUNK.c.job_id, _CHUNK.c.seq)


def upgrade() -> None:
    for name, kind in _COLUMNS.items():
        op.add_column("result_chunk", sa.Column(name, kind, nullable=True))


def downgrade() -> None:
    if context.is_offline_mode():
        raise SystemExit("videoqueue: Revision 0007 cannot be undone by SQL alone: its chunks are decoded.")
    _decode_chunks(op.get_bind())
    for name in reversed(_COLUMNS):
        op.drop_column("result_chunk", name)


def _decode_chunks(connection: sa.Connection) -> None:
    encoded = sa.select(*_KEY, _CHUNK.c.payload, _CHUNK.c.encoding).where(_CHUNK.c.encoding.is_not(None))
    query = encoded.order_by(*_KEY).limit(_BATCH)
    rows = connection.execute(query).all()
    while rows:
        for row in rows:
            connection.execute(
                sa.update(_CHUNK)
                .where(_CHUNK.c.job_id == row.job_id, _CHUNK.c.seq == row.seq)
                .values(payload=b"".join(json_of(row.payload, row.encoding)), encoding=None)
            )
        last = sa.tuple_(rows[-1].job_id, rows[-1].seq, types=[column.type for column in _KEY])
        rows = connection.execute(query.where(sa.tuple_(*_KEY) > last)).all()
