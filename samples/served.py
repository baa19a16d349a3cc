"""The broker of samples/postgres under gunicorn with a PostgreSQL of its own, for `make demo` and `make run`.

All that it keeps is in a temporary folder, which is gone at the end, as are its processes.
"""

from __future__ import annotations

import secrets
import socket
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import psycopg

from tests.support.postgres import Server
from tests.support.servers import Gunicorn, gunicorn

SAMPLE = Path(__file__).parent / "postgres"
TEMPLATE = "shop_template"
USUAL_PORT = 8080


@dataclass(frozen=True)
class Site:
    """What is there before the broker is served.

    Args:
        postgres: The server, prepared as the sample's README says.
        folder: Where the broker remembers, and logs.
        login: The role `broker`'s URL.
        password: What the platform logs in with, as `platform`.
        metrics_token: What Prometheus shows.
        lease: For how many seconds a broker that was killed is taken to be alive.
    """

    postgres: Server
    folder: Path
    login: str
    password: str
    metrics_token: str
    lease: int

    @property
    def log(self) -> Path:
        """What the broker and its server say."""
        return self.folder / "log"

    @property
    def counted(self) -> Path:
        """What its processes count for Prometheus, which whoever of them is asked adds up."""
        return self.folder / "metrics"

    def serving(self, port: int = 0) -> AbstractContextManager[Gunicorn]:
        """The broker, served on this port of the loopback; on any, where that is 0."""
        return gunicorn(
            SAMPLE,
            "broker:app",
            *("--workers=2", "--threads=8"),
            log=self.log,
            port=port,
            environment={
                **self.settings,
                "METRICS_TOKEN": self.metrics_token,
                "PROMETHEUS_MULTIPROC_DIR": str(self.counted),
            },
        )

    @property
    def settings(self) -> dict[str, str]:
        """The variables of the broker, also for its operators' commands."""
        return {
            "POSTGRES_URL": self.login,
            "POSTGRES_TEMPLATE": TEMPLATE,
            "BROKER_STORE": f"sqlite:///{self.folder}/broker.db?lease={self.lease}",
            "BROKER_USERNAME": "platform",
            "BROKER_PASSWORD": self.password,
        }

    def platform(self, port: int) -> dict[str, str]:
        """The variables by which the command `brokerkit` finds the broker."""
        return {
            "BROKER_URL": f"http://127.0.0.1:{port}",
            "METRICS_TOKEN": self.metrics_token,
            "BROKER_USERNAME": "platform",
            "BROKER_PASSWORD": self.password,
        }


@contextmanager
def prepared(*, lease: int = 30) -> Iterator[Site]:
    """A PostgreSQL with all that the broker needs."""
    with Server(tcp=True) as postgres, TemporaryDirectory(prefix="broker-") as folder:
        password = secrets.token_urlsafe(16)
        postgres.psql(postgres.conninfo, (SAMPLE / "prepare.sql").read_text())
        with psycopg.connect(postgres.conninfo) as connection:  # as psql's \password does it
            connection.pgconn.change_password(b"broker", password.encode())
        login = f"postgresql://broker:{password}@127.0.0.1:{postgres.port}/postgres"
        postgres.psql(login, (SAMPLE / "template.sql").read_text())
        site = Site(
            postgres, Path(folder), login, secrets.token_urlsafe(16), secrets.token_urlsafe(16), lease
        )
        site.counted.mkdir()
        yield site


def usual_port() -> int:
    """The one that the READMEs name, if it is free; else any that is."""
    with suppress(OSError), socket.create_server(("127.0.0.1", USUAL_PORT)):
        return USUAL_PORT
    return 0
