"""The column with the due time of an operation that waits in a queue."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column. Operations that exist do not wait in a queue."""
    op.add_column("brokerkit_operations", sa.Column("due_at", sa.Double))


def downgrade() -> None:
    """Drop the column."""
    op.drop_column("brokerkit_operations", "due_at")
