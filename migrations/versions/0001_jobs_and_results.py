"""jobs and results

Revision: 0001, the first
"""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "job",
        sa.Column("job_id", sa.Uuid(), nullable=False),
        sa.Column("owner", sa.String(length=64), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("pipeline_id", sa.String(length=100), nullable=False),
        sa.Column("frame_stride", sa.BigInteger(), nullable=False),
        sa.Column("max_frames", sa.BigInteger(), nullable=True),
        sa.Column("input_key", sa.String(length=200), nullable=False),
        sa.Column("input_bytes", sa.BigInteger(), nullable=False),
        sa.Column("input_sha256", sa.String(length=64), nullable=False),
        sa.Column("progress", sa.Float(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("crashes", sa.Integer(), nullable=False),
        sa.Column("run_after", sa.BigInteger(), nullable=False),
        sa.Column("lease_until", sa.BigInteger(), nullable=True),
        sa.Column("worker", sa.String(length=200), nullable=True),
        sa.Column("announce_after", sa.BigInteger(), nullable=False),
        sa.Column("announcements", sa.Integer(), nullable=False),
        sa.Column("error_message", sa.Text(), nullable=True),
        sa.Column("results_etag", sa.String(length=64), nullable=True),
        sa.Column("idempotency_key", sa.String(length=255), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.Column("started_at", sa.BigInteger(), nullable=True),
        sa.Column("finished_at", sa.BigInteger(), nullable=True),
        sa.CheckConstraint(
            "(status = 'completed') = (progress >= 1)", name=op.f("ck_job_full_progress_when_completed")
        ),
        sa.CheckConstraint(
            "(status = 'completed') = (results_etag IS NOT NULL)", name=op.f("ck_job_etag_when_completed")
        ),
        sa.CheckConstraint(
            "(status = 'running') = (lease_until IS NOT NULL)", name=op.f("ck_job_lease_when_running")
        ),
        sa.CheckConstraint(
            "(status IN ('completed', 'failed')) = (finished_at IS NOT NULL)",
            name=op.f("ck_job_finished_at_when_terminal"),
        ),
        sa.CheckConstraint(
            "status <> 'failed' OR error_message IS NOT NULL", name=op.f("ck_job_failed_says_why")
        ),
        sa.CheckConstraint(
            "status IN ('pending', 'running', 'completed', 'failed')", name=op.f("ck_job_status_known")
        ),
        sa.CheckConstraint(
            "attempt >= 0 AND failures >= 0 AND crashes >= 0", name=op.f("ck_job_counters_range")
        ),
        sa.CheckConstraint("frame_stride >= 1", name=op.f("ck_job_frame_stride_range")),
        sa.CheckConstraint("max_frames IS NULL OR max_frames >= 1", name=op.f("ck_job_max_frames_range")),
        sa.CheckConstraint("progress >= 0 AND progress <= 1", name=op.f("ck_job_progress_range")),
        sa.PrimaryKeyConstraint("job_id", name=op.f("pk_job")),
        sa.UniqueConstraint("owner", "idempotency_key", name=op.f("uq_job_owner_idempotency_key")),
    )
    op.create_index(op.f("ix_job_status_announce_after"), "job", ["status", "announce_after"])
    op.create_index(op.f("ix_job_status_lease_until"), "job", ["status", "lease_until"])

    op.create_table(
        "result_chunk",
        sa.Column("job_id", sa.Uuid(), nullable=False),
        sa.Column("seq", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("first_frame", sa.BigInteger(), nullable=False),
        sa.Column("frame_count", sa.Integer(), nullable=False),
        sa.Column("payload", sa.LargeBinary(), nullable=False),
        sa.CheckConstraint(
            "frame_count >= 1 AND first_frame >= 0", name=op.f("ck_result_chunk_frames_range")
        ),
        sa.ForeignKeyConstraint(
            ["job_id"], ["job.job_id"], name=op.f("fk_result_chunk_job_id_job"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("job_id", "seq", name=op.f("pk_result_chunk")),
    )


def downgrade() -> None:
    op.drop_table("result_chunk")
    op.drop_index(op.f("ix_job_status_lease_until"), "job")
    op.drop_index(op.f("ix_job_status_announce_after"), "job")
    op.drop_table("job")
