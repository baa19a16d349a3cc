"""The command as a person sees it: a terminal with a line that lives, colours, questions and Ctrl-C."""

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
from .conftest import Pace, Person, offers

START = (
    "import os, runpy, sys\n"
    "os.close(os.open(os.ttyname(0), os.O_RDWR))\n"  # makes it the terminal that Ctrl-C comes from
    "sys.argv = ['brokerkit', *sys.argv[1:]]\n"
    "runpy.run_module('brokerkit', run_name='__main__')\n"
)
RED = "\x1b[31m"


class Terminal:
    """A command in a terminal.

    Args:
        command: What was typed.
        environ: The environment.
    """

    def __init__(self, command: tuple[str, ...], environ: dict[str, str]) -> None:
        self._master, slave = pty.openpty()
        self.seen = ""
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
        """Read until a text is there."""
        ends = time.monotonic() + timeout
        while text not in self.seen:
            assert self._read(ends), f"{text!r} never came; there is {self.seen!r}"
        return self.seen

    def press(self, keys: str) -> None:
        os.write(self._master, keys.encode())

    def end(self, *, timeout: float = 20.0) -> int:
        """Read to the end, and return the exit code."""
        ends = time.monotonic() + timeout
        while self._read(ends):
            pass
        return self._process.wait(max(0.1, ends - time.monotonic()))

    def _read(self, ends: float) -> bool:
        ready, _, _ = select.select([self._master], [], [], max(0.0, ends - time.monotonic()))
        if not ready:
            return False
        try:
            data = os.read(self._master, 65536)
        except OSError:  # the other side is closed
            return False
        self.seen += data.decode()
        return bool(data)

    def close(self) -> None:
        self._process.kill()
        self._process.wait(10)
        os.close(self._master)


@contextmanager
def terminal(person: Person, *command: str, **more: str | None) -> Iterator[Terminal]:
    wanted = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "100", **person.env, **more}
    made = Terminal(command, {name: value for name, value in wanted.items() if value is not None})
    try:
        yield made
    finally:
        made.close()


@pytest.mark.integration
def test_progress_line_updates_during_operation(real: Person, pace: Pace) -> None:
    with terminal(real, "provision", "db", "large", "orders", "-v") as screen:
        seen = screen.until("Making a volume\\x1b[2J")
        assert re.search(r"Making orders.*0:00:0\d", seen)
        assert "\r" in seen
        assert "⠋" in seen
        pace.go.set()
        assert screen.end() == 0
    assert "/last_operation" in screen.seen
    assert re.search(r"state +ready", re.sub(r"\x1b\[[0-9;]*m", "", screen.seen))


@pytest.mark.integration
def test_interrupt_on_terminal_explains_how_to_continue(real: Person, pace: Pace) -> None:
    """Ctrl+C exits with 130 and leaves the operation running. A later poll completes it."""
    with terminal(real, "provision", "db", "large", "orders") as screen:
        screen.until("Making a volume")
        screen.press("\x03")
        assert screen.end() == 130
    assert "orders goes on at the service broker" in screen.seen
    assert "Come back to it: brokerkit poll orders" in screen.seen
    assert "Traceback" not in screen.seen
    assert real.known["orders"].state == "creating"
    pace.go.set()
    with terminal(real, "poll", "orders") as screen:
        assert screen.end() == 0
    assert real.known["orders"].state == "ready"


@pytest.mark.integration
@pytest.mark.parametrize(("no_color", "is_red"), [(None, True), ("1", False)])
def test_error_is_red_unless_no_color(
    person: Person, fake: FakeBroker, no_color: str | None, is_red: bool
) -> None:
    fake.script(respond(403, {"description": "Not you."}))
    with terminal(person, "catalog", NO_COLOR=no_color) as screen:
        assert screen.end() == 1
    assert "returned 403: Not you." in screen.seen
    assert (RED in screen.seen) == is_red
    assert ("\x1b" in screen.seen) == is_red


@pytest.mark.integration
def test_password_prompt_does_not_echo(person: Person, fake: FakeBroker) -> None:
    fake.script(offers())
    with terminal(person, "catalog", BROKER_PASSWORD=None) as screen:
        screen.until("Password of platform: ")
        screen.press("s3cret\n")
        assert screen.end() == 0
    assert fake.requests[0].headers["Authorization"].startswith("Basic ")
    assert "By post" in screen.seen
    assert "s3cret" not in screen.seen


@pytest.mark.integration
def test_terminal_prompts_before_deleting_bindings(orders: Person, fake: FakeBroker) -> None:
    fake.script(offers(), respond(201, {"credentials": {}}))
    orders.run("bind", "orders", "shop")
    fake.script(respond(200))
    with terminal(orders, "deprovision", "orders") as screen:
        screen.until("orders has bindings (shop). Delete them too? [y/N]")
        screen.press("y\n")
        assert screen.end() == 0
    assert orders.known == {}


# The line itself


class Screen(io.StringIO):
    """A terminal of some encoding, to look at."""

    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


class OldScreen(Screen):
    encoding = "latin-1"


@pytest.mark.parametrize(("kind", "spinner"), [(Screen, "⠋"), (OldScreen, "-")])
def test_spinner_uses_characters_of_terminal_encoding(
    monkeypatch: pytest.MonkeyPatch, kind: Callable[[], Screen], spinner: str
) -> None:
    screen = kind()
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    talk = Output(as_json=False, verbose=False)
    with progress(talk, "Making orders") as told:
        told(LastOperation.in_progress("[bold]Half\n done"))
        talk.note("By the way")
        told(LastOperation.in_progress())
    assert spinner in screen.getvalue()
    assert "By the way\n" in screen.getvalue()
    assert talk.live is None


def test_dumb_terminal_gets_plain_progress_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Screen()
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setenv("TERM", "dumb")
    with progress(Output(as_json=False, verbose=False), "Making orders") as told:
        for _ in range(2):
            told(LastOperation.in_progress("Half done"))
        told(LastOperation.succeeded())
    assert screen.getvalue() == "Making orders: Half done\nMaking orders: succeeded\n"
