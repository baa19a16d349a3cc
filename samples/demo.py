"""Demonstration of the broker of samples/postgres: `make demo`.

The demo runs the commands of a platform's user and of an operator, and shows their output. Lines with a tick
are facts that the demo checks itself, mostly in PostgreSQL. The exit code is 1 if a command or check fails.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
import textwrap
import time
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, Self, TypeAlias

import psycopg
import requests
from prometheus_client.parser import text_string_to_metric_families

from tests.support.servers import Gunicorn

from .served import SAMPLE, TEMPLATE, Site, prepared_site

LEASE = 3
"""Seconds until another process takes over the work of the killed broker. The broker's default is 30."""

TIMEOUT = 30.0
"""Seconds to wait for an expected event."""

OPERATIONS_TOTAL = "brokerkit_operations_total"
"""The metric that counts finished operations."""

COPY_PLAN = "restored"
"""The plan whose instances are copies of a template database."""

URI = "$URI"
"""Placeholder in commands for the URI of the current credentials."""

BOLD, DIM, RED, GREEN = "1", "2", "31;1", "32"

Credentials: TypeAlias = Mapping[str, Any]
Command: TypeAlias = subprocess.Popen[bytes]


class DemoError(Exception):
    """An error after which the demo cannot continue."""


class Console:
    """Terminal output of the demo: runs commands and prints the results of checks.

    Commands that are still running on exit are killed.

    Args:
        environment: Additional environment variables for the commands.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = {**os.environ, **environment}
        self._plain = not sys.stdout.isatty() or "NO_COLOR" in os.environ
        self._width = min(shutil.get_terminal_size((100, 24)).columns, 100)
        self._started: list[Command] = []
        self._after_blank = False
        self.checks = 0
        self.failures = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        for command in self._started:
            command.kill()
            command.wait()

    @property
    def commands(self) -> int:
        """The number of commands run so far."""
        return len(self._started)

    def section(self, title: str, introduction: str = "") -> None:
        """Start a section of the demo."""
        self._print_blank()
        self._print(self._coloured(f"── {title} ".ljust(self._width, "─"), BOLD))
        if introduction:
            self.say(introduction)
        self._print_blank()

    def say(self, text: str, colour: str = DIM) -> None:
        """Print an explanation. A running command continues its status line below it."""
        clear = "" if self._plain else "\r\033[K"
        for line in textwrap.wrap(text, self._width - 2, break_on_hyphens=False):
            self._print(f"{clear}  {self._coloured(line, colour)}")

    def check(self, claim: str, passed: bool, actual: object = None) -> None:
        """Print a claim and whether it is true. If not, also print the actual value."""
        self.checks += 1
        self.failures += not passed
        details = "" if passed or actual is None else f"; actual: {actual}"
        self._print(f"  {self._coloured('✓' if passed else '✗', GREEN if passed else RED)} {claim}{details}")

    def run(self, *command: str, succeeds: bool = True) -> None:
        """Run a command and check its exit code."""
        self.finish(self.start(*command), succeeds=succeeds)

    def start(self, *command: str) -> Command:
        """Start a command without waiting for it."""
        self._prompt(" ".join(quoted(argument) for argument in command))
        self._started.append(
            subprocess.Popen(self._program(command), env=self._environment, cwd=_working_directory(command))
        )
        return self._started[-1]

    def finish(self, command: Command, *, succeeds: bool = True) -> None:
        """Wait for a command and check its exit code."""
        code = command.wait(120)
        if (code == 0) is not succeeds:
            expected = "succeeds" if succeeds else "fails"
            self.check(f"the command {expected}", False, f"exit code {code}")
        self._print_blank()

    def read_credentials(self, instance: str, binding: str) -> Credentials:
        """Read the credentials of a binding without printing them.

        Raises:
            DemoError: The binding does not exist.
        """
        output = self.read_json(
            "brokerkit",
            "credentials",
            instance,
            binding,
            "--json",
            error=f"{instance} has no binding {binding}",
        )
        credentials: Credentials = output["credentials"]
        return credentials

    def read_json(self, *command: str, error: str) -> Any:
        """Run a command without showing it, and return the JSON that it prints.

        Args:
            command: The command.
            error: The error message for a command that fails.

        Raises:
            DemoError: The command failed.
        """
        result = subprocess.run(
            self._program(command),
            env=self._environment,
            cwd=_working_directory(command),
            stdout=subprocess.PIPE,
            check=False,
        )
        if result.returncode:
            raise DemoError(error)
        return json.loads(result.stdout)

    def set_environment(self, environment: Mapping[str, str]) -> None:
        """Set environment variables for all further commands."""
        self._environment.update(environment)

    def use_credentials(self, instance: str, binding: str) -> Credentials:
        """Set `$URI` to the URI of a binding, and return the binding's credentials."""
        self._prompt(f"URI=$(brokerkit credentials {instance} {binding} --json | jq -r .credentials.uri)")
        credentials = self.read_credentials(instance, binding)
        self.set_environment({"URI": credentials["uri"]})
        return credentials

    def show(self, command: str, output: list[str]) -> None:
        """Print a command and its output, without running it."""
        self._prompt(command)
        for line in output:
            self._print(line)
        self._print_blank()

    def _program(self, command: tuple[str, ...]) -> list[str]:
        program, *arguments = command
        if program in ("brokerkit", "flask"):
            return [sys.executable, "-m", program, *arguments]
        uri = self._environment["URI"]
        return [self._environment["PSQL"], *(uri if argument == URI else argument for argument in arguments)]

    def _prompt(self, line: str) -> None:
        self._print_blank()
        self._print(f"{self._coloured('$', GREEN)} {self._coloured(line, BOLD)}")

    def _print(self, text: str) -> None:
        print(text, flush=True)
        self._after_blank = False

    def _print_blank(self) -> None:
        if not self._after_blank:
            self._print("")
        self._after_blank = True

    def _coloured(self, text: str, colour: str) -> str:
        return text if self._plain else f"\033[{colour}m{text}\033[0m"


def _working_directory(command: tuple[str, ...]) -> str | None:
    """Return the broker's folder for operator commands, and None for all others."""
    return str(SAMPLE) if command[0] == "flask" else None


def quoted(argument: str) -> str:
    """Quote an argument for display, as a person would type it in a shell."""
    if argument == URI or (" " in argument and not set(argument) & set('$`"\\\\!')):
        return f'"{argument}"'
    return shlex.quote(argument)


# Queries of PostgreSQL and of the metrics


def query(site: Site, statement: str) -> list[tuple[Any, ...]]:
    """Execute a statement as PostgreSQL's superuser and return its rows."""
    with psycopg.connect(site.postgres.conninfo, autocommit=True) as connection:
        cursor = connection.execute(statement.encode())
        return cursor.fetchall() if cursor.description is not None else []


def databases_and_roles(site: Site) -> set[str]:
    """Return all databases and roles of the server."""
    names = "SELECT 'database ' || datname FROM pg_database UNION ALL SELECT 'role ' || rolname FROM pg_roles"
    return {name for (name,) in query(site, names)}


def copy_processes(site: Site) -> set[int]:
    """Return the ids of PostgreSQL's processes that copy a database."""
    statement = "SELECT pid FROM pg_stat_activity WHERE state = 'active' AND query LIKE 'CREATE DATABASE%'"
    return {pid for (pid,) in query(site, statement)}


def connection_limit(site: Site, database: str) -> int:
    """Return the maximum number of connections to a database."""
    (row,) = query(site, f"SELECT datconnlimit FROM pg_database WHERE datname = '{database}'")
    return int(row[0])


def can_log_in(credentials: Credentials) -> bool:
    """Return whether an application can log in with these credentials."""
    try:
        psycopg.connect(credentials["uri"], connect_timeout=10).close()
    except psycopg.OperationalError:
        return False
    return True


def fetch_metrics(site: Site, port: int) -> str:
    """Fetch the broker's metrics in Prometheus' text format."""
    headers = {"Authorization": f"Bearer {site.metrics_token}"}
    return requests.get(f"http://127.0.0.1:{port}/metrics", headers=headers, timeout=10).text


def count_operations(metrics: str) -> Counter[tuple[str, str, str]]:
    """Return the number of finished operations by operation, plan and outcome."""
    samples = (sample for family in text_string_to_metric_families(metrics) for sample in family.samples)
    return Counter(
        {
            (labels["operation"], labels["plan"], labels["outcome"]): int(value)
            for name, labels, value, *_ in samples
            if name == OPERATIONS_TOTAL and value
        }
    )


def wait_until(condition: Callable[[], bool]) -> bool:
    """Wait until a condition is true. Return False after the timeout."""
    deadline = time.monotonic() + TIMEOUT
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


# The steps of the demo


def use_databases(console: Console, site: Site) -> None:
    """Create a database, use it, change its plan, and rotate its credentials."""
    console.section("The catalog", "The broker offers PostgreSQL databases in three plans.")
    console.run("brokerkit", "catalog")

    console.section(
        "Create a database and use it",
        "A service instance is a database. A service binding is a user of it, with its own password.",
    )
    console.run("brokerkit", "provision", "postgres", "small", "orders", "-p", 'extensions=["citext"]')
    console.run("brokerkit", "bind", "orders", "shop")
    old = console.use_credentials("orders", "shop")
    console.run("psql", URI, "-c", "CREATE TABLE cups (name citext, price int)")
    console.run("psql", URI, "-c", "INSERT INTO cups VALUES ('Blue', 7), ('Red', 9)")
    console.run("psql", URI, "-c", "SELECT * FROM cups WHERE name = 'BLUE'")

    small = connection_limit(site, old["name"])
    console.check("the database allows 5 connections, as defined by plan small", small == 5, small)

    console.section("Change the plan", "The database keeps its data and gets the limits of plan large.")
    console.run("brokerkit", "update", "orders", "--plan", "large")
    large = connection_limit(site, old["name"])
    console.check("the database allows 50 connections, as defined by plan large", large == 50, large)
    console.run("psql", URI, "-c", "SHOW statement_timeout")

    console.section(
        "Rotate the credentials",
        "The new binding shop-2 replaces shop. Both are valid until shop is deleted.",
    )
    console.run("brokerkit", "bind", "orders", "shop-2", "--rotate", "shop")
    new = console.read_credentials("orders", "shop-2")
    console.check("old and new credentials can log in", can_log_in(old) and can_log_in(new))
    console.run("brokerkit", "unbind", "orders", "shop")
    console.check("the old credentials are rejected", not can_log_in(old))
    console.say("The next command still uses the old credentials, so it fails.")
    console.run("psql", URI, "-c", "TABLE cups", succeeds=False)
    console.use_credentials("orders", "shop-2")
    console.run("psql", URI, "-c", "TABLE cups")


def kill_during_copy(
    console: Console, site: Site, server: Gunicorn
) -> tuple[Command, psycopg.Connection[Any]]:
    """Start to copy the template database, and kill the broker during the copy.

    Returns:
        The command that waits for the copy, and a connection that blocks the copy while it is open.
    """
    console.section(
        "Kill the broker during a background operation",
        "Plan restored copies another database in the background. The platform polls until it is complete.",
    )
    query(site, f"ALTER DATABASE {TEMPLATE} ALLOW_CONNECTIONS true")
    blocker = psycopg.connect(site.postgres.conninfo, dbname=TEMPLATE)
    query(site, f"ALTER DATABASE {TEMPLATE} ALLOW_CONNECTIONS false")
    provision = console.start("brokerkit", "provision", "postgres", COPY_PLAN, "reports")
    started = wait_until(lambda: bool(copy_processes(site)))
    time.sleep(2)  # lets the viewer see the progress
    server.kill()
    console.say("kill -9: the broker is dead in the middle of the copy. PostgreSQL continues to copy.", RED)
    if not started:
        raise DemoError("the copy did not start")
    return provision, blocker


def resume_copy(console: Console, site: Site, provision: Command, blocker: psycopg.Connection[Any]) -> None:
    """Wait until the restarted broker completes the operation of the killed one."""
    orphaned = copy_processes(site)
    console.say(
        f"The broker is started again. It resumes the operation when the lease of {LEASE} seconds expires …"
    )
    restarted = wait_until(lambda: bool(current := copy_processes(site)) and not current & orphaned)
    blocker.close()
    console.finish(provision)
    console.check("the broker cancelled the abandoned copy and started a new one", restarted)
    console.run("brokerkit", "bind", "reports", "analyst")
    console.use_credentials("reports", "analyst")
    console.run("psql", URI, "-c", "SELECT count(*), max(price) FROM products")


def delete_everything(console: Console, site: Site, before: set[str]) -> None:
    """Delete all bindings and instances, and check that PostgreSQL is as before."""
    console.section(
        "Delete everything", "Deleting a binding removes its user. Deleting an instance drops its database."
    )
    last = console.read_credentials("orders", "shop-2")
    console.run("brokerkit", "unbind", "orders", "shop-2")
    console.check("the deleted credentials are rejected", not can_log_in(last))
    console.run("brokerkit", "deprovision", "orders")
    console.run("brokerkit", "deprovision", "reports", "--yes")
    after = databases_and_roles(site)
    console.check(
        "PostgreSQL has the same databases and roles as before: nothing is left behind",
        after == before,
        f"different: {sorted(after ^ before)}",
    )
    for kind in ("database", "role"):
        names = sorted(name.removeprefix(f"{kind} ") for name in after if name.startswith(f"{kind} "))
        visible = ", ".join(name for name in names if not name.startswith("pg_"))  # without built-in roles
        console.say(f"{kind}s: {visible}")


def inspect(console: Console, site: Site, port: int) -> None:
    """Show the broker's metrics, audit trail and log, and check that they agree."""
    console.section(
        "Metrics, audit trail and log",
        "Operators see every operation in the metrics for Prometheus and in the audit trail.",
    )
    metrics = fetch_metrics(site, port)
    nonzero = sorted(
        line
        for line in metrics.splitlines()
        if line.startswith(OPERATIONS_TOTAL) and not line.endswith(" 0.0")
    )
    curl = 'curl -sH "Authorization: Bearer $METRICS_TOKEN" "$BROKER_URL/metrics"'
    console.show(f'{curl} | grep ^{OPERATIONS_TOTAL} | grep -v " 0.0$" | sort', nonzero)
    audit = ("flask", "--app", "broker", "broker", "audit")
    console.run(*audit)

    entries = console.read_json(*audit, "--json", "--limit", "1000", error="the audit trail cannot be read")
    counted = count_operations(metrics)
    audited = Counter((entry["operation"], entry["plan"], entry["state"]) for entry in entries)
    console.check(
        f"the metrics count all {len(entries)} audited operations, also those of the killed broker",
        counted == audited,
        counted,
    )
    attempts = [
        entry["attempt"]
        for entry in entries
        if (entry["operation"], entry["plan"]) == ("provision", COPY_PLAN)
    ]
    console.check("the copy took two attempts", attempts == [2], attempts)
    log = site.log.read_text()
    console.check("the log contains no password", bool(log) and site.password not in log)


def run_demo(console: Console, site: Site) -> None:
    """Run all steps."""
    console.say(
        "The demo acts as a platform that provisions databases. You see each command and its"
        " output. The demo checks the lines with a tick (✓) itself."
    )
    before = databases_and_roles(site)
    with site.serve() as server:
        console.set_environment({**site.broker_environment, **site.client_environment(server.port)})
        use_databases(console, site)
        provision, blocker = kill_during_copy(console, site, server)
    with site.serve(server.port):
        resume_copy(console, site, provision, blocker)
        delete_everything(console, site, before)
        inspect(console, site, server.port)


def main() -> int:
    """Run the demo and return its exit code."""
    started = time.monotonic()
    print("Starting PostgreSQL and the broker of samples/postgres under gunicorn …", flush=True)
    with prepared_site(lease=LEASE) as site:
        environment = {
            "BROKERKIT_HOME": str(site.folder),
            "PSQL": str(site.postgres.programs / "psql"),
            "PSQLRC": os.devnull,
            "PSQL_PAGER": "cat",  # in a low terminal, the default pager would wait for a key
        }
        with Console(environment) as console:
            try:
                run_demo(console, site)
            except (DemoError, RuntimeError) as error:
                console.check(str(error), False)
            if console.failures:
                print(f"\nLog of the broker and gunicorn:\n{site.log.read_text()}", flush=True)
    seconds = time.monotonic() - started
    result = f"{console.failures} failed" if console.failures else "everything passed"
    print(f"\n{console.commands} commands and {console.checks} checks in {seconds:.0f} s: {result}.")
    return 1 if console.failures else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
