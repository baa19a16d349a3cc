"""How many lifecycles in the background Celery's workers get through, and what keeps them from more.

A lifecycle is a provision, whose handler waits 50 ms, and a deprovision, whose handler does nothing; each is
asked for and polled until it is done. One web process serves.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from itertools import islice
from pathlib import Path
from time import perf_counter

from sqlalchemy import make_url

from tests.celery_worker import CeleryWorker
from tests.redis import Server

from .accounts import Account, tell
from .databases import Database
from .fleet import REDIS, URL, served_by
from .measure import take_turns
from .meters import PostgresMeter
from .table import Table
from .traffic import Question, Reply, lifecycles, poll_of
from .verdicts import Verdicts
from .wire import Connection, as_bytes, connected

WORKERS = (1, 2, 4)

BUDGET = 1.2
"""Two workers wait at the same time; four also, and then the cores of a small machine are used up."""

CLIENTS = 16
LIFECYCLES = 3
"""How many each client has to get through in a turn."""

PAUSE = 0.05
"""In seconds, between two polls."""

ROUNDS, WARM_UP = 8, 1

_FRESH = lifecycles()
_DONE = Reply(200, {"state": "succeeded"})
_FLEET = f"{__package__}.background_fleet"


def run(kinds: Sequence[Database], verdicts: Verdicts) -> None:
    """Measure, print and judge."""
    (kind,) = (kind for kind in kinds if kind.name == "PostgreSQL")
    with ExitStack() as stack:
        meter = stack.enter_context(PostgresMeter(stack.enter_context(kind.fresh())))
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="celery-")))
        accounts, turns = {}, {}
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
            accounts[name] = Account(meter, str(make_url(url).database), roots)
            turns[name] = partial(_turn, web.port, accounts[name])
        times = take_turns(turns, ROUNDS, WARM_UP)
    table = Table(label=24, cells=(8, 8, 8, 6))
    table.write("background lifecycles/s", "", "/ 1", "budget", "")
    first = next(iter(turns))
    for name in turns:
        verdict = verdicts.at_least(times.ratio(first, name), BUDGET) if name != first else ()
        table.write(name, f"{1 / times.seconds(name):.0f}", *verdict)
    table.write("")
    tell(accounts, (ROUNDS + WARM_UP) * CLIENTS * LIFECYCLES)


def _turn(port: int, account: Account) -> float:
    """The seconds that a lifecycle takes."""
    work = [list(islice(_FRESH, LIFECYCLES)) for _ in range(CLIENTS)]
    with account.open():
        started = perf_counter()
        asyncio.run(_all_at_once(port, work))
        return (perf_counter() - started) / (CLIENTS * LIFECYCLES)


async def _all_at_once(port: int, work: Sequence[Sequence[Sequence[Question]]]) -> None:
    await asyncio.gather(*(_get_through(port, each) for each in work))


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
