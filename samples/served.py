"""Servers for `make demo` and `make run`: the broker of samples/postgres under gunicorn, with a PostgreSQL.

All files are in a temporary folder. The folder and all processes are removed on exit.
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
DEFAULT_PORT = 8080


@dataclass(frozen=True)
class Site:
    """A prepared PostgreSQL server and the settings of the broker.

    Args:
        postgres: The server, prepared as described in the sample's README.
        folder: The folder of the broker's store and log.
        broker_url: The PostgreSQL URL with the role `broker`.
        password: The password of the platform's user `platform`.
        metrics_token: The token with which Prometheus reads the metrics.
        lease: Seconds after which another process takes over the work of a process that was killed.
    """

    postgres: Server
    folder: Path
    broker_url: str
    password: str
    metrics_token: str
    lease: int

    @property
    def log(self) -> Path:
        """The log file of the broker and gunicorn."""
        return self.folder / "log"

    @property
    def metrics_folder(self) -> Path:
        """The folder that the broker's processes use to share their Prometheus counters."""
        return self.folder / "metrics"

    def serve(self, port: int = 0) -> AbstractContextManager[Gunicorn]:
        """Serve the broker on a loopback port. With 0, the operating system chooses the port."""
        return gunicorn(
            SAMPLE,
            "broker:app",
            *("--workers=2", "--threads=8"),
            log=self.log,
            port=port,
            environment={
                **self.broker_environment,
                "METRICS_TOKEN": self.metrics_token,
                "PROMETHEUS_MULTIPROC_DIR": str(self.metrics_folder),
            },
        )

    @property
    def broker_environment(self) -> dict[str, str]:
        """The environment variables of the broker and of the operator commands."""
        return {
            "POSTGRES_URL": self.broker_url,
            "POSTGRES_TEMPLATE": TEMPLATE,
            "BROKER_STORE": f"sqlite:///{self.folder}/broker.db?lease={self.lease}",
            "BROKER_USERNAME": "platform",
            "BROKER_PASSWORD": self.password,
        }

    def client_environment(self, port: int) -> dict[str, str]:
        """Return the environment variables of the `brokerkit` command and of Prometheus."""
        return {
            "BROKER_URL": f"http://127.0.0.1:{port}",
            "METRICS_TOKEN": self.metrics_token,
            "BROKER_USERNAME": "platform",
            "BROKER_PASSWORD": self.password,
        }


@contextmanager
def prepared_site(*, lease: int = 30) -> Iterator[Site]:
    """Start a PostgreSQL server and prepare it for the broker."""
    with Server(tcp=True) as postgres, TemporaryDirectory(prefix="broker-") as folder:
        password = secrets.token_urlsafe(16)
        postgres.psql(postgres.conninfo, (SAMPLE / "prepare.sql").read_text())
        with psycopg.connect(postgres.conninfo) as connection:  # the same as psql's \password
            connection.pgconn.change_password(b"broker", password.encode())
        broker_url = f"postgresql://broker:{password}@127.0.0.1:{postgres.port}/postgres"
        postgres.psql(broker_url, (SAMPLE / "template.sql").read_text())
        site = Site(
            postgres, Path(folder), broker_url, secrets.token_urlsafe(16), secrets.token_urlsafe(16), lease
        )
        site.metrics_folder.mkdir()
        yield site


def preferred_port() -> int:
    """Return the port that the READMEs use if it is free, otherwise 0."""
    with suppress(OSError), socket.create_server(("127.0.0.1", DEFAULT_PORT)):
        return DEFAULT_PORT
    return 0
