"""the version of the pipeline that made the results

Revision: 0004, after 0003. Adds only, so that processes of the version before go on working.
"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("job", sa.Column("pipeline_version", sa.String(length=64), nullable=True))


def downgrade() -> None:
    op.drop_column("job", "pipeline_version")
