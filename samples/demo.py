"""Orders databases from the broker of samples/postgres before your eyes: `make demo`.

You see what somebody types who orders them, what comes back, and, with a tick, what the demo looks up in
PostgreSQL to make sure of it. Ends with 1 if anything is not as it should be.
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

from .served import SAMPLE, TEMPLATE, Site, prepared

LEASE = 3
"""For how many seconds a broker that was killed is taken to be alive; 30, if nobody says another number."""

PATIENCE = 30.0
"""For how many seconds the demo waits for what must come."""

ENDS = "brokerkit_operations_total"
"""What counts the changes that came to an end."""

COPY = "restored"
"""The plan whose instances are copies of another database."""

URI = "$URI"
"""What is typed for the URI of the credentials in use."""

BOLD, DIM, RED, GREEN = "1", "2", "31;1", "32"

Credentials: TypeAlias = Mapping[str, Any]
Command: TypeAlias = subprocess.Popen[bytes]


class Lost(Exception):
    """It makes no sense to go on."""


class Stage:
    """Types commands, and says what is right and what is not. What still runs at the end is killed.

    Args:
        environment: What the commands are told beside the usual.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = {**os.environ, **environment}
        self._plain = not sys.stdout.isatty() or "NO_COLOR" in os.environ
        self._width = min(shutil.get_terminal_size((100, 24)).columns, 100)
        self._begun: list[Command] = []
        self._after_blank = False
        self.checks = 0
        self.wrong = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        for command in self._begun:
            command.kill()
            command.wait()

    @property
    def commands(self) -> int:
        """How many were typed."""
        return len(self._begun)

    def scene(self, title: str) -> None:
        """Begin a chapter."""
        self._print_blank()
        self._print(self._coloured(f"── {title} ".ljust(self._width, "─"), BOLD))
        self._print_blank()

    def tell(self, text: str, colour: str = DIM) -> None:
        """Say something; the line that a command keeps up to date goes on below it."""
        clear = "" if self._plain else "\r\033[K"
        for line in textwrap.wrap(text, self._width - 2, break_on_hyphens=False):
            self._print(f"{clear}  {self._coloured(line, colour)}")

    def check(self, what: str, right: bool, found: object = None) -> None:
        """Say that something is so; or that it is not, and what is there instead."""
        self.checks += 1
        self.wrong += not right
        instead = "" if right or found is None else f"; there is {found}"
        self._print(f"  {self._coloured('✓' if right else '✗', GREEN if right else RED)} {what}{instead}")

    def type(self, *command: str, succeeds: bool = True) -> None:
        """Type a command, and see how it ends."""
        self.end(self.begin(*command), succeeds=succeeds)

    def begin(self, *command: str) -> Command:
        """Type a command, and do not wait for it."""
        self._prompt(" ".join(typed(part) for part in command))
        self._begun.append(
            subprocess.Popen(self._program(command), env=self._environment, cwd=_place(command))
        )
        return self._begun[-1]

    def end(self, command: Command, *, succeeds: bool = True) -> None:
        """Wait for a command, and see whether it ends as it should."""
        code = command.wait(120)
        if (code == 0) is not succeeds:
            due = "succeeded" if succeeds else "failed"
            self.check(f"that should have {due}", False, f"exit code {code}")
        self._print_blank()

    def credentials(self, instance: str, binding: str) -> Credentials:
        """Those of a binding, as a program reads them; nothing is shown of it.

        Raises:
            Lost: There are none.
        """
        told = self.read(
            "brokerkit",
            "credentials",
            instance,
            binding,
            "--json",
            needed=f"{instance} has no binding {binding}",
        )
        found: Credentials = told["credentials"]
        return found

    def read(self, *command: str, needed: str) -> Any:
        """What a command prints as JSON; nothing is shown of it.

        Args:
            command: The command.
            needed: What is wrong if it fails.

        Raises:
            Lost: It failed.
        """
        done = subprocess.run(
            self._program(command),
            env=self._environment,
            cwd=_place(command),
            stdout=subprocess.PIPE,
            check=False,
        )
        if done.returncode:
            raise Lost(needed)
        return json.loads(done.stdout)

    def know(self, environment: Mapping[str, str]) -> None:
        """What the commands are told more, from now on."""
        self._environment.update(environment)

    def take(self, instance: str, binding: str) -> Credentials:
        """Make `$URI` that of a binding, and return all its credentials."""
        self._prompt(f"URI=$(brokerkit credentials {instance} {binding} --json | jq -r .credentials.uri)")
        found = self.credentials(instance, binding)
        self.know({"URI": found["uri"]})
        return found

    def look(self, command: str, lines: list[str]) -> None:
        """Show a command and what comes of it."""
        self._prompt(command)
        for line in lines:
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


def _place(command: tuple[str, ...]) -> str | None:
    """Where a command is typed: those of operators where the broker is."""
    return str(SAMPLE) if command[0] == "flask" else None


def typed(part: str) -> str:
    """A part of a command as people quote it."""
    if part == URI or (" " in part and not set(part) & set('$`"\\\\!')):
        return f'"{part}"'
    return shlex.quote(part)


# What the demo looks up


def ask(site: Site, statement: str) -> list[tuple[Any, ...]]:
    """What PostgreSQL's superuser is answered."""
    with psycopg.connect(site.postgres.conninfo, autocommit=True) as connection:
        cursor = connection.execute(statement.encode())
        return cursor.fetchall() if cursor.description is not None else []


def there_is(site: Site) -> set[str]:
    """All databases and roles."""
    named = "SELECT 'database ' || datname FROM pg_database UNION ALL SELECT 'role ' || rolname FROM pg_roles"
    return {name for (name,) in ask(site, named)}


def copying(site: Site) -> set[int]:
    """The processes of PostgreSQL that copy a database."""
    query = "SELECT pid FROM pg_stat_activity WHERE state = 'active' AND query LIKE 'CREATE DATABASE%'"
    return {pid for (pid,) in ask(site, query)}


def connections(site: Site, database: str) -> int:
    """How many a database may have."""
    (row,) = ask(site, f"SELECT datconnlimit FROM pg_database WHERE datname = '{database}'")
    return int(row[0])


def may_enter(credentials: Credentials) -> bool:
    """Whether an application can log in."""
    try:
        psycopg.connect(credentials["uri"], connect_timeout=10).close()
    except psycopg.OperationalError:
        return False
    return True


def metrics(site: Site, port: int) -> str:
    """What Prometheus is told."""
    login = {"Authorization": f"Bearer {site.metrics_token}"}
    return requests.get(f"http://127.0.0.1:{port}/metrics", headers=login, timeout=10).text


def ends_counted(told: str) -> Counter[tuple[str, str, str]]:
    """How many changes ended, by operation, plan and outcome."""
    samples = (sample for family in text_string_to_metric_families(told) for sample in family.samples)
    return Counter(
        {
            (labels["operation"], labels["plan"], labels["outcome"]): int(value)
            for name, labels, value, *_ in samples
            if name == ENDS and value
        }
    )


def until(fact: Callable[[], bool]) -> bool:
    """Wait for a fact; False if it does not come."""
    ends = time.monotonic() + PATIENCE
    while not fact():
        if time.monotonic() > ends:
            return False
        time.sleep(0.05)
    return True


# What happens


def live(stage: Stage, site: Site) -> None:
    """Order a database, use it, move it to another plan, and change its credentials."""
    stage.scene("What is on offer")
    stage.type("brokerkit", "catalog")

    stage.scene("A database, and somebody who uses it")
    stage.type("brokerkit", "provision", "postgres", "small", "orders", "-p", 'extensions=["citext"]')
    stage.type("brokerkit", "bind", "orders", "shop")
    first = stage.take("orders", "shop")
    stage.type("psql", URI, "-c", "CREATE TABLE cups (name citext, price int)")
    stage.type("psql", URI, "-c", "INSERT INTO cups VALUES ('Blue', 7), ('Red', 9)")
    stage.type("psql", URI, "-c", "SELECT * FROM cups WHERE name = 'BLUE'")

    small = connections(site, first["name"])
    stage.check("it may have 5 connections, as the plan small says", small == 5, small)

    stage.scene("It grows")
    stage.type("brokerkit", "update", "orders", "--plan", "large")
    large = connections(site, first["name"])
    stage.check("it may have 50 connections, as the plan large says", large == 50, large)
    stage.type("psql", URI, "-c", "SHOW statement_timeout")

    stage.scene("New credentials, first beside the old ones, then instead of them")
    stage.type("brokerkit", "bind", "orders", "shop-2", "--rotate", "shop")
    second = stage.credentials("orders", "shop-2")
    stage.check("both log in", may_enter(first) and may_enter(second))
    stage.type("brokerkit", "unbind", "orders", "shop")
    stage.check("the old ones are refused", not may_enter(first))
    stage.type("psql", URI, "-c", "TABLE cups", succeeds=False)
    stage.take("orders", "shop-2")
    stage.type("psql", URI, "-c", "TABLE cups")


def kill_at_work(stage: Stage, site: Site, server: Gunicorn) -> tuple[Command, psycopg.Connection[Any]]:
    """Order a copy of the template, and kill the broker while it is made.

    Returns:
        The command that waits for it; and who keeps the template busy, so that the copying does not get on.
    """
    stage.scene("A copy of another database takes a while; meanwhile the broker is killed")
    ask(site, f"ALTER DATABASE {TEMPLATE} ALLOW_CONNECTIONS true")
    in_template = psycopg.connect(site.postgres.conninfo, dbname=TEMPLATE)
    ask(site, f"ALTER DATABASE {TEMPLATE} ALLOW_CONNECTIONS false")
    order = stage.begin("brokerkit", "provision", "postgres", COPY, "reports")
    begun = until(lambda: bool(copying(site)))
    time.sleep(2)  # for who watches
    server.kill()
    stage.tell("kill -9: the broker is gone, in the middle of its work. PostgreSQL goes on copying.", RED)
    if not begun:
        raise Lost("the copying did not begin")
    return order, in_template


def finish(stage: Stage, site: Site, order: Command, in_template: psycopg.Connection[Any]) -> None:
    """See another broker take up what the one before left."""
    left = copying(site)
    stage.tell(f"It is started again, and takes the work up when its lease of {LEASE} seconds is over …")
    taken_up = until(lambda: bool(now := copying(site)) and not now & left)
    in_template.close()
    stage.end(order)
    stage.check("what was left copying was ended, and the work was done anew", taken_up)
    stage.type("brokerkit", "bind", "reports", "analyst")
    stage.take("reports", "analyst")
    stage.type("psql", URI, "-c", "SELECT count(*), max(price) FROM products")


def give_back(stage: Stage, site: Site, before: set[str]) -> None:
    """Delete all, and see that nothing is left."""
    stage.scene("All is given back")
    last = stage.credentials("orders", "shop-2")
    stage.type("brokerkit", "unbind", "orders", "shop-2")
    stage.check("its credentials are refused", not may_enter(last))
    stage.type("brokerkit", "deprovision", "orders")
    stage.type("brokerkit", "deprovision", "reports", "--yes")
    left = there_is(site)
    stage.check("nothing is left behind, and nothing is missing", left == before, left ^ before)
    for kind in ("database", "role"):
        names = sorted(name.removeprefix(f"{kind} ") for name in left if name.startswith(f"{kind} "))
        shown = ", ".join(name for name in names if not name.startswith("pg_"))  # PostgreSQL's own
        stage.tell(f"{kind}s: {shown}")


def look_back(stage: Stage, site: Site, port: int) -> None:
    """See what the broker tells of all this: to Prometheus, in its audit trail, and in its log."""
    stage.scene("What others learn of it")
    told = metrics(site, port)
    shown = sorted(line for line in told.splitlines() if line.startswith(ENDS) and not line.endswith(" 0.0"))
    curl = 'curl -sH "Authorization: Bearer $METRICS_TOKEN" "$BROKER_URL/metrics"'
    stage.look(f'{curl} | grep ^{ENDS} | grep -v " 0.0$" | sort', shown)
    audit = ("flask", "--app", "broker", "broker", "audit")
    stage.type(*audit)

    trail = stage.read(*audit, "--json", "--limit", "1000", needed="the audit trail cannot be read")
    counted = ends_counted(told)
    remembered = Counter((each["operation"], each["plan"], each["state"]) for each in trail)
    stage.check(
        f"all {len(trail)} changes of the audit trail are counted, also those of processes that were killed",
        counted == remembered,
        counted,
    )
    copies = [each["attempt"] for each in trail if (each["operation"], each["plan"]) == ("provision", COPY)]
    stage.check("the copy was begun twice", copies == [2], copies)
    said = site.log.read_text()
    stage.check("no password is in the log", bool(said) and site.password not in said)


def play(stage: Stage, site: Site) -> None:
    """All of it."""
    before = there_is(site)
    with site.serving() as server:
        stage.know({**site.settings, **site.platform(server.port)})
        live(stage, site)
        order, in_template = kill_at_work(stage, site, server)
    with site.serving(server.port):
        finish(stage, site, order, in_template)
        give_back(stage, site, before)
        look_back(stage, site, server.port)


def main() -> int:
    """Play it; 0 if all was as it should be."""
    began = time.monotonic()
    print("Starting PostgreSQL, and the broker of samples/postgres under gunicorn …", flush=True)
    with prepared(lease=LEASE) as site:
        psql = site.postgres.programs / "psql"
        settings = {
            "BROKERKIT_HOME": str(site.folder),
            "PSQL": str(psql),
            "PSQLRC": os.devnull,
            "PSQL_PAGER": "cat",  # in a low terminal, another would wait for a key
        }
        with Stage(settings) as stage:
            try:
                play(stage, site)
            except (Lost, RuntimeError) as error:
                stage.check(str(error), False)
            if stage.wrong:
                print(f"\nWhat the broker and its server said:\n{site.log.read_text()}", flush=True)
    verdict = f"{stage.wrong} not as they should be" if stage.wrong else "all as they should be"
    took = time.monotonic() - began
    print(f"\n{stage.commands} commands and {stage.checks} checks in {took:.0f} s: {verdict}.")
    return 1 if stage.wrong else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
