"""A store of each earlier schema version is upgraded with its content."""

from __future__ import annotations

from pathlib import Path

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import select, text, update

import brokerkit.store
from brokerkit import Accepted, LastOperation
from brokerkit.store.schema import NEWEST
from brokerkit.store.store import Store
from brokerkit.store.tables import operations

from ..support.broker import BINDING, DELETE_QUERY, IDS, INSTANCE, PROVISION, Recorder
from ..support.stateful import CAN_POLL, Serve, last_operation, poll_until_done

FOLDER = Path(brokerkit.store.__file__).parent / "migrations"


def downgrade(store: Store, version: str) -> None:
    """Turn the tables into those of an earlier version."""
    config = Config()
    config.set_main_option("script_location", str(FOLDER))
    with store.database.engine.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, version)


@pytest.mark.parametrize("version", [f"{number:04}" for number in range(1, int(NEWEST))])
def test_store_of_earlier_version_is_upgraded(serve: Serve, recorder: Recorder, version: str) -> None:
    """Ready and asynchronous resources continue. No attempt blocks them that ran in an earlier version."""
    platform = serve(recorder)
    platform.put(INSTANCE, PROVISION)
    assert platform.put(BINDING, IDS).status_code == 201
    recorder.answers["bind"] = Accepted()
    assert platform.put(f"{BINDING}-2", IDS, query=CAN_POLL).status_code == 202
    serve.stop()
    store = serve.store()
    downgrade(store, version)
    with store.database.engine.connect() as connection:
        ended = update(operations).where(operations.c.state == "succeeded")
        connection.execute(ended.values(lease_until=1.0))
    assert store.upgrade() == (version, NEWEST)
    with store.database.engine.connect() as connection:
        order = select(operations.c.kind).order_by(operations.c.sequence)
        assert list(connection.scalars(order)) == ["provision", "bind", "bind"]
        indexes = "SELECT name FROM sqlite_master WHERE type = 'index'"
        if store.database.is_sqlite:
            assert "brokerkit_operations_running" in set(connection.scalars(text(indexes)))
    store.close()
    platform = serve(recorder)
    assert platform.put(BINDING, IDS).status_code == 200
    recorder.answers["last_binding_operation"] = LastOperation.in_progress()
    assert last_operation(platform, f"{BINDING}-2")["state"] == "in progress"
    operation = platform.delete(f"{BINDING}-2", query=DELETE_QUERY)
    assert operation.status_code == 200
    recorder.answers["deprovision"] = Accepted()
    deletion = platform.delete(INSTANCE, query=f"{DELETE_QUERY}&{CAN_POLL}").json["operation"]
    assert poll_until_done(platform, INSTANCE, deletion)["state"] == "succeeded"
