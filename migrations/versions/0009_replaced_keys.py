"""the key that replaces a rotated one

Revision: 0009, after 0008. Adds only, so that processes of the version before go on working.
"""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("api_key", sa.Column("replaced_by", sa.String(length=16), nullable=True))


def downgrade() -> None:
    op.drop_column("api_key", "replaced_by")
