"""deleted jobs whose video is still to be removed, and an index for the list of the jobs of all owners

Revision: 0006, after 0005. Adds only, so that processes of the version before go on working.
"""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "deleted_job",
        sa.Column("job_id", sa.Uuid(), nullable=False),
        sa.Column("input_key", sa.String(length=200), nullable=False),
        sa.Column("deleted_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("job_id", name="pk_deleted_job"),
    )
    op.create_index("ix_job_list", "job", ["created_at", "job_id"])


def downgrade() -> None:
    op.drop_index("ix_job_list", "job")
    op.drop_table("deleted_job")
