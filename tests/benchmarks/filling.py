"""A filled store: copies of the rows of real requests, inserted directly into its tables."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any
from uuid import uuid4
from wsgiref.types import WSGIApplication

from sqlalchemy import Connection, Table, create_engine, func, insert, select

from brokerkit._internal.clock import SYSTEM_CLOCK
from brokerkit.store.tables import bindings, instances, operations

from .traffic import lifecycles, send

_BATCH = 1000

Row = dict[str, Any]


def fill(url: str, app: WSGIApplication, count: int) -> None:
    """Insert instances, every second one with a binding, and their operations.

    Args:
        url: The URL of an empty store.
        app: The broker's app. One instance and its binding are created by requests, the others are copies.
        count: The number of instances.
    """
    for exchange in next(lifecycles())[:2]:
        reply = send(app, exchange.fresh_environ())
        if reply != exchange.expected:
            raise AssertionError(f"a {exchange.endpoint} got {reply}, not {exchange.expected}")
    engine = create_engine(url)
    try:
        with engine.begin() as connection:
            originals = {table: _rows(connection, table) for table in (operations, instances, bindings)}
            for start in range(1, count, _BATCH):
                copies: dict[Table, list[Row]] = defaultdict(list)
                for number in range(start, min(start + _BATCH, count)):
                    for table, row in _copy(originals, with_binding=number % 2 == 0):
                        copies[table].append(row)
                for table, rows in copies.items():
                    connection.execute(insert(table), rows)
            stored = connection.scalar(select(func.count()).select_from(instances))
            if stored != count:
                raise AssertionError(f"there are {stored} instances, not {count}")
        # Run the periodic maintenance now, not during the measurement.
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            for upkeep in _UPKEEP[engine.dialect.name]:
                connection.exec_driver_sql(upkeep)
    finally:
        engine.dispose()


_UPKEEP = {"sqlite": ("PRAGMA wal_checkpoint(TRUNCATE)",), "postgresql": ("VACUUM ANALYZE", "CHECKPOINT")}


def _rows(connection: Connection, table: Table) -> list[Row]:
    return [dict(row._mapping) for row in connection.execute(select(table))]


def _copy(originals: Mapping[Table, list[Row]], *, with_binding: bool) -> Iterator[tuple[Table, Row]]:
    """The rows of one more instance."""
    (instance,), (binding,) = originals[instances], originals[bindings]
    instance_id = str(uuid4())
    ids: dict[Any, str] = {binding["id"]: str(uuid4()), None: ""}
    for operation in originals[operations]:
        ids[operation["id"]] = SYSTEM_CLOCK.new_id()
        if operation["binding_id"] is None:
            yield operations, operation | {"id": ids[operation["id"]], "instance_id": instance_id}
        elif with_binding:
            keys = {"instance_id": instance_id, "binding_id": ids[operation["binding_id"]]}
            yield operations, operation | {"id": ids[operation["id"]]} | keys
    yield instances, instance | {"id": instance_id, "operation": ids[instance["operation"]]}
    if with_binding:
        keys = {"instance_id": instance_id, "id": ids[binding["id"]]}
        yield bindings, binding | {"operation": ids[binding["operation"]]} | keys
