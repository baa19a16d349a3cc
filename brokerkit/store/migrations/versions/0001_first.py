"""The tables for instances, bindings, operations and keys."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "brokerkit_instances",
        sa.Column("id", sa.String, primary_key=True),
        sa.Column("revision", sa.Integer, nullable=False),
        sa.Column("state", sa.String, nullable=False),
        sa.Column("service_id", sa.String, nullable=False),
        sa.Column("plan_id", sa.String, nullable=False),
        sa.Column("busy_bindings", sa.Integer, nullable=False),
        sa.Column("operation", sa.String),
        sa.Column("attributes", sa.LargeBinary, nullable=False),
        sa.Column("result", sa.LargeBinary),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.Column("updated_at", sa.Double, nullable=False),
    )
    op.create_table(
        "brokerkit_bindings",
        sa.Column(
            "instance_id",
            sa.String,
            sa.ForeignKey("brokerkit_instances.id", ondelete="CASCADE"),
            primary_key=True,
        ),
        sa.Column("id", sa.String, primary_key=True),
        sa.Column("revision", sa.Integer, nullable=False),
        sa.Column("state", sa.String, nullable=False),
        sa.Column("operation", sa.String),
        sa.Column("attributes", sa.LargeBinary, nullable=False),
        sa.Column("result", sa.LargeBinary),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.Column("updated_at", sa.Double, nullable=False),
    )
    op.create_table(
        "brokerkit_operations",
        sa.Column("id", sa.String, primary_key=True),
        sa.Column("instance_id", sa.String, nullable=False),
        sa.Column("binding_id", sa.String),
        sa.Column("kind", sa.String, nullable=False),
        sa.Column("mode", sa.String, nullable=False),
        sa.Column("state", sa.String, nullable=False),
        sa.Column("service_id", sa.String, nullable=False),
        sa.Column("plan_id", sa.String, nullable=False),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("attempts_before", sa.Integer, nullable=False),
        sa.Column("lease_until", sa.Double),
        sa.Column("wake_at", sa.Double),
        sa.Column("deadline", sa.Double, nullable=False),
        sa.Column("follows", sa.String),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.Column("updated_at", sa.Double, nullable=False),
        sa.Column("request", sa.LargeBinary, nullable=False),
        sa.Column("outcome", sa.LargeBinary),
    )
    op.create_index("brokerkit_operations_of_instance", "brokerkit_operations", ["instance_id"])
    in_progress = sa.column("state") == "in progress"
    op.create_index(
        "brokerkit_operations_to_wake",
        "brokerkit_operations",
        ["wake_at"],
        sqlite_where=in_progress,
        postgresql_where=in_progress,
    )
    op.create_table(
        "brokerkit_keys",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("sealed", sa.LargeBinary, nullable=False),
    )


def downgrade() -> None:
    """Drop the tables."""
    for table in ("keys", "operations", "bindings", "instances"):
        op.drop_table(f"brokerkit_{table}")
