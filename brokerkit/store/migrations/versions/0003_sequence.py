"""The order of claims, the number of handovers, and the leases of operations that have ended."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_IN_ORDER = """
UPDATE brokerkit_operations SET sequence = ordered.position
FROM (SELECT id, row_number() OVER (ORDER BY created_at, id) AS position FROM brokerkit_operations) AS ordered
WHERE ordered.id = brokerkit_operations.id
"""


def upgrade() -> None:
    """Add the columns and an index of the running attempts.

    The broker is stopped during the upgrade. So no attempt of an operation that has ended still runs.
    """
    is_postgresql = op.get_context().dialect.name == "postgresql"
    options = (sa.Identity(always=False),) if is_postgresql else ()
    op.add_column(
        "brokerkit_operations",
        sa.Column(
            "sequence", sa.BigInteger, *options, nullable=False, server_default=None if options else "0"
        ),
    )
    op.execute(_IN_ORDER)
    op.add_column(
        "brokerkit_operations", sa.Column("handovers", sa.Integer, nullable=False, server_default="0")
    )
    op.add_column("brokerkit_operations", sa.Column("followed_by", sa.String))
    op.add_column(
        "brokerkit_operations", sa.Column("renewals", sa.Integer, nullable=False, server_default="0")
    )
    op.execute(
        "UPDATE brokerkit_operations SET lease_until = NULL, wake_at = NULL WHERE state <> 'in progress'"
    )
    running = sa.text("lease_until IS NOT NULL")
    op.create_index(
        "brokerkit_operations_running",
        "brokerkit_operations",
        ["wake_at"],
        sqlite_where=running,
        postgresql_where=running,
    )


def downgrade() -> None:
    """Drop the index and the columns."""
    op.drop_index("brokerkit_operations_running", "brokerkit_operations")
    op.drop_column("brokerkit_operations", "renewals")
    op.drop_column("brokerkit_operations", "followed_by")
    op.drop_column("brokerkit_operations", "handovers")
    op.drop_column("brokerkit_operations", "sequence")
