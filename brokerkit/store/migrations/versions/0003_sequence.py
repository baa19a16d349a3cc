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
    """Add the columns, and let the scheduler find operations that have ended with a running attempt.

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
    op.execute(
        "UPDATE brokerkit_operations SET lease_until = NULL, wake_at = NULL WHERE state <> 'in progress'"
    )
    op.drop_index("brokerkit_operations_to_wake", "brokerkit_operations")
    wakes = sa.text("wake_at IS NOT NULL")
    op.create_index(
        "brokerkit_operations_to_wake",
        "brokerkit_operations",
        ["wake_at"],
        sqlite_where=wakes,
        postgresql_where=wakes,
    )


def downgrade() -> None:
    """Restore the index, and drop the columns."""
    op.drop_index("brokerkit_operations_to_wake", "brokerkit_operations")
    in_progress = sa.text("state = 'in progress'")
    op.create_index(
        "brokerkit_operations_to_wake",
        "brokerkit_operations",
        ["wake_at"],
        sqlite_where=in_progress,
        postgresql_where=in_progress,
    )
    op.drop_column("brokerkit_operations", "handovers")
    op.drop_column("brokerkit_operations", "sequence")
