"""the segments of completed jobs

Revision: 0008, after 0007. Adds only, so that processes of the version before go on working. They leave the
segments of a job that they delete; the purger of this version removes them.
"""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "job_segments",
        sa.Column("job_id", sa.Uuid(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("payload", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("job_id", name="pk_job_segments"),
    )


def downgrade() -> None:
    op.drop_table("job_segments")
