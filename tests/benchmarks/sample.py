"""Times of provisioning with `samples/postgres`, against its bare SQL."""

from __future__ import annotations

import asyncio
import json
import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any
from uuid import uuid4

from cryptography.fernet import Fernet
from werkzeug.test import EnvironBuilder

from samples.postgres.databases import Databases
from samples.postgres.names import database_of
from tests.samples.cluster import SAMPLE, TEMPLATE, Cluster, prepared
from tests.support.gunicorn import Gunicorn

from .databases import Database
from .measure import take_turns
from .replay import LOGGING, Statement, issued
from .replay import run as run_again
from .table import Table
from .traffic import PASSWORD, USERNAME, Exchange, Reply
from .verdicts import Verdicts
from .wire import Connection, as_bytes, connected

BUDGET = 1.25

ROUNDS, WARM_UP = 20, 2
DATABASES = 2
"""The number of databases per turn."""

BROKER, BARE = "broker", "bare SQL"


def run(_: Sequence[Database], verdicts: Verdicts) -> None:
    """Measure, print and compare with the budgets."""
    with ExitStack() as stack:
        cluster = stack.enter_context(prepared(**LOGGING))
        server = stack.enter_context(_served(cluster, stack.enter_context(tempfile.TemporaryDirectory())))
        ordered = "recorded"
        order(server.port, ["unnoticed"])  # the first request starts the background threads
        statements = issued(cluster, lambda: order(server.port, [ordered]))
        turns = {
            BROKER: partial(_turn, cluster, partial(order, server.port)),
            BARE: partial(_turn, cluster, partial(_repeat, cluster, statements, database_of(ordered))),
        }
        times = take_turns(turns, ROUNDS, WARM_UP)
    table = Table(label=24, cells=(8, 10, 8, 8, 6))
    table.write("ms per provision", BROKER, BARE, "/ bare", "budget", "")
    seconds = [f"{times.seconds(name) * 1e3:.1f}" for name in turns]
    table.write(
        f"{len(statements)} statements", *seconds, *verdicts.at_most(times.ratio(BROKER, BARE), BUDGET)
    )


def _turn(cluster: Cluster, make: Callable[[list[str]], None]) -> float:
    """Return the mean seconds per database."""
    databases = Databases(cluster.url)
    instances = [str(uuid4()) for _ in range(DATABASES)]
    started = perf_counter()
    make(instances)
    seconds = perf_counter() - started
    names = {database_of(instance) for instance in instances}
    if not names <= cluster.names():
        raise AssertionError("created databases are missing")
    for name in names:
        databases.drop(name)
    return seconds / DATABASES


def order(port: int, instances: list[str]) -> None:
    """Provision databases through the broker, one after the other."""

    async def provision() -> None:
        async with connected(port) as connection:
            for instance in instances:
                await _provision(connection, instance)

    asyncio.run(provision())


async def _provision(connection: Connection, instance: str) -> None:
    exchange = _question(instance)
    reply = await connection.send(as_bytes(exchange, last=False))
    if reply != exchange.expected:
        raise AssertionError(f"a provision got {reply}, not {exchange.expected}")


def _question(instance: str) -> Exchange:
    body = json.dumps({**_IDS, "organization_guid": instance, "space_guid": instance}).encode()
    builder = EnvironBuilder(
        f"/v2/service_instances/{instance}",
        method="PUT",
        headers=[("X-Broker-API-Version", "2.17"), ("Content-Type", "application/json")],
        auth=(USERNAME, PASSWORD),
        data=body,
    )
    return Exchange("provision", builder.get_environ(), body, Reply(201, {}))


def _repeat(cluster: Cluster, statements: list[Statement], name: str, instances: list[str]) -> None:
    for instance in instances:
        run_again(cluster, [statement.renamed({name: database_of(instance)}) for statement in statements])


def _served(cluster: Cluster, folder: str) -> Gunicorn:
    environment = {
        "BROKER_USERNAME": USERNAME,
        "BROKER_PASSWORD": PASSWORD,
        "BROKER_STORE": cluster.store,
        "BROKER_KEYS": Fernet.generate_key().decode(),
        "POSTGRES_URL": cluster.url,
        "POSTGRES_TEMPLATE": TEMPLATE,
    }
    options = (f"--chdir={SAMPLE}", "--log-level=warning")
    return Gunicorn("broker:app", *options, workers=1, threads=4, log=Path(folder) / "log", **environment)


_IDS: dict[str, Any] = {
    "service_id": "2f6a1c52-6f0e-4c37-9a39-4f5f1c7d0001",
    "plan_id": "2f6a1c52-6f0e-4c37-9a39-4f5f1c7d0011",
}
"""Return a provision body with plan `small`."""
