"""How many lifecycles in the background Celery's workers get through, and what keeps them from more.

A lifecycle is a provision, whose handler waits 50 ms, and a deprovision, whose handler does nothing; each is
asked for and polled until it is done. One web process serves.
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
from .traffic import Question, Reply, poll_of
from .verdicts import Verdicts
from .wire import Connection, as_bytes, connected

WORKERS = (1, 2, 4)

BUDGET = 1.2
"""Two workers wait at the same time; four also, and then the cores of a small machine are used up."""

PAUSE = 0.05
"""In seconds, between two polls."""

_DONE = Reply(200, {"state": "succeeded"})
_FLEET = f"{__package__}.background_fleet"


def run(kinds: Sequence[Database], verdicts: Verdicts) -> None:
    """Measure, print and judge."""
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


async def _get_through(port: int, work: Sequence[Sequence[Question]]) -> None:
    for provision, _, _, deprovision in work:
        async with connected(port) as connection:
            await _settle(connection, provision)
            await _settle(connection, _in_background(deprovision))


def _in_background(question: Question) -> Question:
    """That of a platform that polls; the recorded one needed not."""
    query = f"{question.environ['QUERY_STRING']}&accepts_incomplete=true"
    return question._replace(environ={**question.environ, "QUERY_STRING": query})


async def _settle(connection: Connection, question: Question) -> None:
    reply = await connection.ask(as_bytes(question, last=False))
    if reply.status != 202 or not isinstance(reply.document, dict):
        raise AssertionError(f"a {question.endpoint} in the background got {reply}")
    request = as_bytes(poll_of(question, reply.document["operation"], _DONE), last=False)
    while True:
        await asyncio.sleep(PAUSE)
        reply = await connection.ask(request)
        if not (isinstance(reply.document, dict) and reply.document.get("state") == "in progress"):
            break
    if reply != _DONE:
        raise AssertionError(f"the poll of a {question.endpoint} got {reply}, not {_DONE}")


CROWD = Crowd(clients=16, lifecycles=3, get_through=_get_through)
