"""Throughput of lifecycles with Celery workers, and the resource that limits it.

A lifecycle is a provision, whose handler waits 50 ms, and a deprovision, whose handler does nothing. Each
operation is polled until it ends. One web process serves.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from sqlalchemy import make_url

from tests.support.celery_worker import CeleryWorker
from tests.support.redis import Server

from .accounts import Account
from .databases import Database
from .fleet import REDIS, URL, served_by
from .meters import PostgresMeter
from .side_by_side import Crowd, Site, compare
from .traffic import Exchange, Reply, poll_of
from .verdicts import Verdicts
from .wire import Connection, as_bytes, connected

WORKERS = (1, 2, 4)

BUDGET = 1.2
"""Workers wait concurrently. With four, the cores of a small machine are busy."""

PAUSE = 0.05
"""Seconds between two polls."""

_DONE = Reply(200, {"state": "succeeded"})
_FLEET = f"{__package__}.background_fleet"


def run(kinds: Sequence[Database], verdicts: Verdicts) -> None:
    """Measure, print and compare with the budgets."""
    (kind,) = (kind for kind in kinds if kind.name == "PostgreSQL")
    with ExitStack() as stack:
        meter = stack.enter_context(PostgresMeter(stack.enter_context(kind.fresh())))
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="celery-")))
        sites: dict[str, Site] = {}
        for count in WORKERS:
            name = f"{count} worker{'s' * (count > 1)}"
            url = stack.enter_context(kind.fresh())
            queue = stack.enter_context(Server())
            environment = {URL: url, REDIS: queue.url}
            web = stack.enter_context(served_by(1, url, threads=8, app=f"{_FLEET}:app", **{REDIS: queue.url}))
            worker = stack.enter_context(
                CeleryWorker(
                    f"{_FLEET}:celery_app",
                    *(f"--concurrency={count}", "--loglevel=WARNING"),
                    log=folder / f"log-{count}",
                    **environment,
                )
            )
            with queue.client() as client:
                redis_pid = int(client.info("server")["process_id"])
            roots = {"web": web.pid, "workers": worker.pid, "Redis": redis_pid}
            sites[name] = Site(web.port, Account(meter, str(make_url(url).database), roots))
        compare("background lifecycles/s", sites, CROWD, verdicts, budget=BUDGET, rounds=8, warm_up=1)


async def _get_through(port: int, work: Sequence[Sequence[Exchange]]) -> None:
    for provision, _, _, deprovision in work:
        async with connected(port) as connection:
            await _settle(connection, provision)
            await _settle(connection, _in_background(deprovision))


def _in_background(exchange: Exchange) -> Exchange:
    """The query of a platform that can poll."""
    query = f"{exchange.environ['QUERY_STRING']}&accepts_incomplete=true"
    return exchange._replace(environ={**exchange.environ, "QUERY_STRING": query})


async def _settle(connection: Connection, exchange: Exchange) -> None:
    reply = await connection.send(as_bytes(exchange, last=False))
    if reply.status != 202 or not isinstance(reply.document, dict):
        raise AssertionError(f"a {exchange.endpoint} in the background got {reply}")
    request = as_bytes(poll_of(exchange, reply.document["operation"], _DONE), last=False)
    while True:
        await asyncio.sleep(PAUSE)
        reply = await connection.send(request)
        if not (isinstance(reply.document, dict) and reply.document.get("state") == "in progress"):
            break
    if reply != _DONE:
        raise AssertionError(f"the poll of a {exchange.endpoint} got {reply}, not {_DONE}")


CROWD = Crowd(clients=16, lifecycles=3, run_lifecycles=_get_through)
