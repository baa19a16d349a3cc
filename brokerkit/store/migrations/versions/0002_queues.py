"""Since when an operation is due that waits in a queue."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add it; nothing waits in a queue yet."""
    op.add_column("brokerkit_operations", sa.Column("due_at", sa.Double))


def downgrade() -> None:
    """Remove it."""
    op.drop_column("brokerkit_operations", "due_at")
