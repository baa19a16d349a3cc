"""Tables of a store.

The `LargeBinary` columns are encrypted. They contain all data from platforms and handlers.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    column,
)

metadata = MetaData()

instances = Table(
    "brokerkit_instances",
    metadata,
    Column("id", String, primary_key=True),
    Column("revision", Integer, nullable=False),
    Column("state", String, nullable=False),
    Column("service_id", String, nullable=False),
    Column("plan_id", String, nullable=False),
    Column("busy_bindings", Integer, nullable=False),
    Column("operation", String),
    Column("attributes", LargeBinary, nullable=False),
    Column("result", LargeBinary),
    Column("created_at", Double, nullable=False),
    Column("updated_at", Double, nullable=False),
)

bindings = Table(
    "brokerkit_bindings",
    metadata,
    Column("instance_id", ForeignKey(instances.c.id, ondelete="CASCADE"), primary_key=True),
    Column("id", String, primary_key=True),
    Column("revision", Integer, nullable=False),
    Column("state", String, nullable=False),
    Column("operation", String),
    Column("attributes", LargeBinary, nullable=False),
    Column("result", LargeBinary),
    Column("created_at", Double, nullable=False),
    Column("updated_at", Double, nullable=False),
)

operations = Table(
    "brokerkit_operations",
    metadata,
    Column("id", String, primary_key=True),
    Column("instance_id", String, nullable=False),
    Column("binding_id", String),
    Column("kind", String, nullable=False),
    Column("mode", String, nullable=False),
    Column("state", String, nullable=False),
    Column("service_id", String, nullable=False),
    Column("plan_id", String, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("attempts_before", Integer, nullable=False),
    Column("lease_until", Double),
    Column("wake_at", Double),
    Column("deadline", Double, nullable=False),
    Column("follows", String),
    Column("created_at", Double, nullable=False),
    Column("updated_at", Double, nullable=False),
    Column("request", LargeBinary, nullable=False),
    Column("outcome", LargeBinary),
    Column("due_at", Double),
    Column("sequence", BigInteger, nullable=False),
    Column("handovers", Integer, nullable=False),
    Column("followed_by", String),
    Column("renewals", Integer, nullable=False),
    Index("brokerkit_operations_of_instance", "instance_id"),
    Index(
        "brokerkit_operations_to_wake",
        "wake_at",
        sqlite_where=column("state") == "in progress",
        postgresql_where=column("state") == "in progress",
    ),
    Index(
        "brokerkit_operations_running",
        "wake_at",
        sqlite_where=column("lease_until").is_not(None),
        postgresql_where=column("lease_until").is_not(None),
    ),
)

keys = Table(
    "brokerkit_keys",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("sealed", LargeBinary, nullable=False),
)
"""One row with an encrypted constant, which shows whether the configured keys belong to this store.

The column keeps the name `sealed`, because released stores have it.
"""
