"""Alembic's environment. A migration runs on the connection that the store passes to it."""

from __future__ import annotations

from alembic import context

from brokerkit.store.schema import VERSION_TABLE
from brokerkit.store.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    version_table=VERSION_TABLE,
    transaction_per_migration=False,
)
with context.begin_transaction():
    context.run_migrations()
