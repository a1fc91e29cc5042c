"""time worked on a job, and the workers that live

Revision: 0002, after 0001. Adds only, so that processes of the version before go on working.
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("job", sa.Column("claimed_at", sa.BigInteger(), nullable=True))
    op.add_column("job", sa.Column("worked", sa.BigInteger(), server_default="0", nullable=False))
    op.execute("UPDATE job SET claimed_at = updated_at WHERE status = 'running'")
    op.create_index(op.f("ix_job_status_created_at"), "job", ["status", "created_at"])
    op.create_index(op.f("ix_job_finished_at"), "job", ["finished_at"])
    op.create_index(op.f("ix_job_input_key"), "job", ["input_key"])

    op.create_table(
        "worker_heartbeat",
        sa.Column("worker", sa.String(length=200), nullable=False),
        sa.Column("started_at", sa.BigInteger(), nullable=False),
        sa.Column("seen_at", sa.BigInteger(), nullable=False),
        sa.Column("threads", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("worker", name=op.f("pk_worker_heartbeat")),
    )


def downgrade() -> None:
    op.drop_table("worker_heartbeat")
    op.drop_index(op.f("ix_job_input_key"), "job")
    op.drop_index(op.f("ix_job_finished_at"), "job")
    op.drop_index(op.f("ix_job_status_created_at"), "job")
    op.drop_column("job", "worked")
    op.drop_column("job", "claimed_at")
