"""Tests of the command on a terminal: the progress line, colours, prompts and Ctrl-C."""

from __future__ import annotations

import io
import os
import pty
import re
import select
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from brokerkit import LastOperation
from brokerkit.cli.output import Output
from brokerkit.cli.progress import progress

from ..support.fake_broker import FakeBroker, respond
from .conftest import CommandRunner, Gate, catalog_response

pytestmark = pytest.mark.integration

START = (
    "import os, runpy, sys\n"
    "os.close(os.open(os.ttyname(0), os.O_RDWR))\n"  # makes it the controlling terminal, which sends Ctrl-C
    "sys.argv = ['brokerkit', *sys.argv[1:]]\n"
    "runpy.run_module('brokerkit', run_name='__main__')\n"
)
RED = "\x1b[31m"


class Terminal:
    """A command in a terminal.

    Args:
        command: The arguments of the command.
        environ: The environment variables.
    """

    def __init__(self, command: tuple[str, ...], environ: dict[str, str]) -> None:
        self._master, slave = pty.openpty()
        self.text = ""
        self._process = subprocess.Popen(
            [sys.executable, "-c", START, *command],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env=environ,
            start_new_session=True,
        )
        os.close(slave)

    def until(self, text: str, *, timeout: float = 20.0) -> str:
        """Read until a text appears."""
        deadline = time.monotonic() + timeout
        while text not in self.text:
            assert self._read(deadline), f"{text!r} did not appear in {self.text!r}"
        return self.text

    def press(self, keys: str) -> None:
        os.write(self._master, keys.encode())

    def end(self, *, timeout: float = 20.0) -> int:
        """Read to the end of the output, and return the exit code."""
        deadline = time.monotonic() + timeout
        while self._read(deadline):
            pass
        return self._process.wait(max(0.1, deadline - time.monotonic()))

    def _read(self, deadline: float) -> bool:
        ready, _, _ = select.select([self._master], [], [], max(0.0, deadline - time.monotonic()))
        if not ready:
            return False
        try:
            data = os.read(self._master, 65536)
        except OSError:  # the other side is closed
            return False
        self.text += data.decode()
        return bool(data)

    def close(self) -> None:
        self._process.kill()
        self._process.wait(10)
        os.close(self._master)


@contextmanager
def terminal(runner: CommandRunner, *command: str, **environment: str | None) -> Iterator[Terminal]:
    environ = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "100", **runner.env, **environment}
    screen = Terminal(command, {name: value for name, value in environ.items() if value is not None})
    try:
        yield screen
    finally:
        screen.close()


def test_progress_line_updates_during_operation(real: CommandRunner, gate: Gate) -> None:
    with terminal(real, "provision", "db", "large", "orders", "-v") as screen:
        text = screen.until("Making a volume\\x1b[2J")
        assert re.search(r"Provisioning orders.*0:00:0\d", text)
        assert "\r" in text
        assert "⠋" in text
        gate.opened.set()
        assert screen.end() == 0
    assert "/last_operation" in screen.text
    assert re.search(r"state +ready", re.sub(r"\x1b\[[0-9;]*m", "", screen.text))


def test_interrupt_on_terminal_explains_how_to_continue(real: CommandRunner, gate: Gate) -> None:
    """Ctrl+C exits with 130 and leaves the operation running. A later poll completes it."""
    with terminal(real, "provision", "db", "large", "orders") as screen:
        screen.until("Making a volume")
        screen.press("\x03")
        assert screen.end() == 130
    assert "The operation on orders continues at the service broker." in screen.text
    assert "To wait for it: brokerkit poll orders" in screen.text
    assert "Traceback" not in screen.text
    assert real.instances["orders"].state == "creating"
    gate.opened.set()
    with terminal(real, "poll", "orders") as screen:
        assert screen.end() == 0
    assert real.instances["orders"].state == "ready"


@pytest.mark.parametrize(("no_color", "is_red"), [(None, True), ("1", False)])
def test_error_is_red_unless_no_color(
    runner: CommandRunner, fake: FakeBroker, no_color: str | None, is_red: bool
) -> None:
    fake.script(respond(403, {"description": "Not you."}))
    with terminal(runner, "catalog", NO_COLOR=no_color) as screen:
        assert screen.end() == 1
    assert "returned 403: Not you." in screen.text
    assert (RED in screen.text) == is_red
    assert ("\x1b" in screen.text) == is_red


def test_password_prompt_does_not_echo(runner: CommandRunner, fake: FakeBroker) -> None:
    fake.script(catalog_response())
    with terminal(runner, "catalog", BROKER_PASSWORD=None) as screen:
        screen.until("Password of platform: ")
        screen.press("s3cret\n")
        assert screen.end() == 0
    assert fake.requests[0].headers["Authorization"].startswith("Basic ")
    assert "By post" in screen.text
    assert "s3cret" not in screen.text


def test_terminal_prompts_before_deleting_bindings(orders: CommandRunner, fake: FakeBroker) -> None:
    fake.script(catalog_response(), respond(201, {"credentials": {}}))
    orders.run("bind", "orders", "shop")
    fake.script(respond(200))
    with terminal(orders, "deprovision", "orders") as screen:
        screen.until("orders has bindings (shop). Delete them too? [y/N]")
        screen.press("y\n")
        assert screen.end() == 0
    assert orders.instances == {}


# The progress line


class Screen(io.StringIO):
    """A terminal that records its output."""

    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


class Latin1Screen(Screen):
    encoding = "latin-1"


@pytest.mark.parametrize(("kind", "spinner"), [(Screen, "⠋"), (Latin1Screen, "-")])
def test_spinner_uses_characters_of_terminal_encoding(
    monkeypatch: pytest.MonkeyPatch, kind: Callable[[], Screen], spinner: str
) -> None:
    screen = kind()
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    output = Output(as_json=False, verbose=False)
    with progress(output, "Provisioning orders") as update:
        update(LastOperation.in_progress("[bold]Half\n done"))
        output.note("By the way")
        update(LastOperation.in_progress())
    assert spinner in screen.getvalue()
    assert "By the way\n" in screen.getvalue()
    assert output.console is None


def test_dumb_terminal_gets_plain_progress_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Screen()
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setenv("TERM", "dumb")
    with progress(Output(as_json=False, verbose=False), "Provisioning orders") as update:
        for _ in range(2):
            update(LastOperation.in_progress("Half done"))
        update(LastOperation.succeeded())
    assert screen.getvalue() == "Provisioning orders: Half done\nProvisioning orders: succeeded\n"
