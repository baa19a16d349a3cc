"""The apps of the benchmarks in separate processes: the modules that gunicorn loads, and how it is started.

Environment variables have the URLs of the database and the queue.
"""

from __future__ import annotations

import os
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import local
from typing import Any

import psycopg
from flask import Flask, request
from sqlalchemy import make_url

from tests.support.gunicorn import Gunicorn

from .stored import stored_broker
from .traffic import PROGRESS

URL, REDIS = "BROKERKIT_BENCHMARK_URL", "BROKERKIT_BENCHMARK_REDIS"


def make_app() -> Flask:
    """Return an app with the broker, whose handlers are synchronous."""
    app = Flask("brokerkit")
    app.register_blueprint(stored_broker(os.environ[URL]).blueprint)
    return app


def make_bare_app() -> Flask:
    """Return an app with one view, which reads the operation's row for a poll and does nothing else."""
    app, read = Flask("bare"), _reader(os.environ[URL])

    @app.get("/v2/service_instances/<instance_id>/last_operation")
    def last_operation(instance_id: str) -> Any:
        (state,) = read(request.args["operation"])
        return {"state": state, "description": PROGRESS}

    return app


def _reader(url: str) -> Callable[[str], Any]:
    """Return a function that reads with the driver alone, on one connection per thread."""
    statement = "SELECT state FROM brokerkit_operations WHERE id = "
    place, parsed = local(), make_url(url)

    def connection() -> Any:
        if url.startswith("sqlite"):
            return sqlite3.connect(str(parsed.database), isolation_level=None)
        libpq_url = parsed.set(drivername="postgresql").render_as_string(hide_password=False)
        return psycopg.connect(libpq_url, autocommit=True)

    def read(operation_id: str) -> Any:
        if not hasattr(place, "connection"):
            place.connection = connection()
        parameter = "?" if url.startswith("sqlite") else "%s"
        return place.connection.execute(statement + parameter, (operation_id,)).fetchone()

    return read


@contextmanager
def served_by(
    processes: int, url: str, *, threads: int, app: str = f"{__name__}:make_app()", **environment: str
) -> Iterator[Gunicorn]:
    """Serve an app on a database with gunicorn.

    Args:
        processes: The number of workers.
        url: The URL of the database.
        threads: The number of threads per worker.
        app: The app.
        environment: Additional environment variables.
    """
    with (
        tempfile.TemporaryDirectory(prefix="gunicorn-") as folder,
        Gunicorn(
            app,
            "--log-level=warning",
            workers=processes,
            threads=threads,
            log=Path(folder) / "log",
            **{URL: url},
            **environment,
        ) as server,
    ):
        yield server
