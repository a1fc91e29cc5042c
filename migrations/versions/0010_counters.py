"""the counters of /metrics

Revision: 0010, after 0009. Adds only, so that processes of the version before go on working. What they do is
not counted.
"""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "counter",
        sa.Column("shard", sa.SmallInteger(), nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("labels", sa.String(length=255), nullable=False),
        sa.Column("value", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("shard", "name", "labels", name="pk_counter"),
        sqlite_with_rowid=False,
        postgresql_with={"fillfactor": "50"},
    )


def downgrade() -> None:
    op.drop_table("counter")
