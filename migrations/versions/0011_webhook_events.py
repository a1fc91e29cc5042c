"""events of webhooks

Revision: 0011, after 0010. Adds only, so that processes of the version before go on working. They send no
webhooks, and the jobs that they end have no event.
"""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "webhook_event",
        sa.Column("job_id", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("tries", sa.Integer(), server_default="0", nullable=False),
        sa.Column("next_at", sa.BigInteger(), nullable=True),
        sa.Column("error", sa.String(length=300), nullable=True),
        sa.PrimaryKeyConstraint("job_id", name="pk_webhook_event"),
    )
    op.create_index("ix_webhook_event_next_at", "webhook_event", ["next_at"])


def downgrade() -> None:
    op.drop_index("ix_webhook_event_next_at", "webhook_event")
    op.drop_table("webhook_event")
