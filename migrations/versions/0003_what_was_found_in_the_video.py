"""what was found in the video, and the last frame of a chunk

Revision: 0003, after 0002. Adds only, so that processes of the version before go on working.
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_COLUMNS = {
    "damaged_frames": sa.BigInteger(),
    "width": sa.Integer(),
    "height": sa.Integer(),
    "fps": sa.Float(),
    "duration": sa.Float(),
}


def upgrade() -> None:
    op.add_column("result_chunk", sa.Column("last_index", sa.BigInteger(), nullable=True))
    for name, kind in _COLUMNS.items():
        op.add_column("job", sa.Column(name, kind, nullable=True))
    # SQLite takes a new constraint only together with a new column.
    op.execute(
        "ALTER TABLE job ADD COLUMN codec VARCHAR(32) CONSTRAINT ck_job_video_known_when_terminal CHECK ("
        "finished_at IS NOT NULL OR (damaged_frames IS NULL AND width IS NULL AND height IS NULL "
        "AND fps IS NULL AND duration IS NULL AND codec IS NULL))"
    )


def downgrade() -> None:
    # The constraint goes with the column it came with.
    op.drop_column("job", "codec")
    for name in reversed(_COLUMNS):
        op.drop_column("job", name)
    op.drop_column("result_chunk", "last_index")
