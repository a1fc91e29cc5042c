"""keys, owners and sessions, and what the list of jobs shows

Revision: 0005, after 0004. Adds only, so that processes of the version before go on working.
"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

#: Name, columns and condition of each new index of the table `job`.
_INDEXES = (
    ("ix_job_owner_list", ["owner", "created_at", "job_id", "input_bytes"], None),
    ("ix_job_owner_status_list", ["owner", "status", "created_at", "job_id"], None),
    ("ix_job_owner_pending", ["owner", "created_at"], "status = 'pending'"),
    ("ix_job_owner_running", ["owner"], "status = 'running'"),
)


def upgrade() -> None:
    op.add_column("job", sa.Column("name", sa.String(length=255), nullable=True))
    op.add_column("job", sa.Column("key_id", sa.String(length=16), nullable=True))
    # SQLite takes a new constraint only together with a new column.
    op.execute(
        "ALTER TABLE job ADD COLUMN error_code VARCHAR(32) CONSTRAINT ck_job_error_code_when_failed "
        "CHECK (status = 'failed' OR error_code IS NULL)"
    )
    op.execute(
        "ALTER TABLE job ADD COLUMN result_bytes BIGINT CONSTRAINT ck_job_result_bytes_when_completed "
        "CHECK (status = 'completed' OR result_bytes IS NULL)"
    )
    for name, columns, rows in _INDEXES:
        where = None if rows is None else sa.text(rows)
        op.create_index(name, "job", columns, postgresql_where=where, sqlite_where=where)
    _create_tables()


def _create_tables() -> None:
    op.create_table(
        "api_key",
        sa.Column("key_id", sa.String(length=16), nullable=False),
        sa.Column("owner", sa.String(length=64), nullable=False),
        sa.Column("scopes", sa.String(length=100), nullable=False),
        sa.Column("secret_sha256", sa.String(length=64), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=True),
        sa.Column("revoked_at", sa.BigInteger(), nullable=True),
        sa.Column("last_used_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("key_id", name="pk_api_key"),
    )
    op.create_index("ix_api_key_owner", "api_key", ["owner"])
    op.create_table(
        "owner_state",
        sa.Column("owner", sa.String(length=64), nullable=False),
        sa.Column("max_pending", sa.Integer(), nullable=True),
        sa.Column("max_running", sa.Integer(), nullable=True),
        sa.Column("max_stored_bytes", sa.BigInteger(), nullable=True),
        sa.Column("last_claim", sa.BigInteger(), server_default="0", nullable=False),
        sa.CheckConstraint(
            "max_pending >= 0 AND max_running >= 0 AND max_stored_bytes >= 0",
            name=op.f("ck_owner_state_limits_range"),
        ),
        sa.PrimaryKeyConstraint("owner", name="pk_owner_state"),
    )
    op.create_table(
        "session",
        sa.Column("token_sha256", sa.String(length=64), nullable=False),
        sa.Column("key_id", sa.String(length=16), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("token_sha256", name="pk_session"),
    )
    op.create_index("ix_session_key_id", "session", ["key_id"])
    op.create_index("ix_session_expires_at", "session", ["expires_at"])


def downgrade() -> None:
    for table in ("session", "owner_state", "api_key"):
        op.drop_table(table)
    for name, _, _ in reversed(_INDEXES):
        op.drop_index(name, "job")
    # The constraints go with the columns they came with.
    for column in ("result_bytes", "error_code", "key_id", "name"):
        op.drop_column("job", column)
