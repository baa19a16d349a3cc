"""Tests of the README: its example matches the sample, and its curl commands return the shown responses."""

from __future__ import annotations

import argparse
import base64
import http.client
import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from queue import SimpleQueue
from time import monotonic
from typing import Any
from urllib.parse import urlsplit

import pytest
from blinker import NamedSignal

from brokerkit import LastOperation, signals

from .support.broker import INSTANCE, Platform, Recorder, make_app, make_broker
from .support.servers import KINDS, PATCHING, SERVE, Kind, waitress

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
BLOCKS: list[tuple[str, str]] = re.findall(r"^```(\w+)\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)


def blocks(language: str) -> list[str]:
    return [text for kind, text in BLOCKS if kind == language]


def test_readme_first_block_has_make_commands() -> None:
    assert "make demo" in BLOCKS[0][1]
    assert "make test" in BLOCKS[0][1]


@pytest.mark.parametrize(("language", "sample"), [("yaml", "catalog.yml"), ("python", "hello.py")])
def test_readme_example_matches_sample(language: str, sample: str) -> None:
    assert (ROOT / "samples" / sample).read_text() == blocks(language)[0]


def test_sample_has_under_sixty_code_lines() -> None:
    _, _, code = (ROOT / "samples" / "hello.py").read_text().partition("\n")  # after its docstring
    assert sum(bool(line.strip()) for line in code.splitlines()) < 60


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_readme_lists_tested_server_commands(kind: Kind) -> None:
    """The README shows the server commands used by the tests."""
    assert f"| `{kind.command}` |" in README


@pytest.mark.parametrize("file", [SERVE, PATCHING])
def test_readme_shows_tested_server_files(file: str) -> None:
    assert file in blocks("python")


def test_readme_subscriber_reports_failed_operation() -> None:
    messages: SimpleQueue[str] = SimpleQueue()
    space: dict[str, Any] = {}
    exec(next(block for block in blocks("python") if block.startswith("# alarm.py")), space)
    recorder = Recorder()
    recorder.answers["last_operation"] = LastOperation.failed("No room")
    broker = make_broker(recorder)
    space["alarm"](broker, messages.put)
    Platform(make_app(broker)).get(f"{INSTANCE}/last_operation")
    assert messages.get(timeout=30) == "last_operation of i1 failed after 0 s: No room"


def test_readme_table_lists_every_signal() -> None:
    _, _, table = README.partition("| signal | sent | with |")
    for name, value in vars(signals).items():
        if isinstance(value, NamedSignal):
            assert f"`{name}`" in table


@pytest.fixture
def port(tmp_path: Path) -> Iterator[int]:
    """Serve the README's example with the README's command, and return the port."""
    (tmp_path / "catalog.yml").write_text(blocks("yaml")[0])
    (tmp_path / "hello.py").write_text(blocks("python")[0])
    command = next(line for line in blocks("sh") if line.startswith("waitress-serve"))
    program, *arguments, app = shlex.split(command.replace(":8080", ":0"))
    assert program == "waitress-serve"
    with waitress(tmp_path, app, *arguments) as port:
        yield port


@pytest.mark.integration
def test_readme_curl_commands_return_shown_responses(port: int) -> None:
    (console,) = blocks("console")
    exchanges = re.findall(r"^\$ (curl .*)\n(\d+) (.*)$", console, re.MULTILINE)
    assert len(exchanges) == console.count("$ ") >= 6
    for line, status, body in exchanges:
        deadline = monotonic() + 30
        while not is_as_shown(response := curl(line, port), int(status), body):
            # Only a poll may have to wait for the shown response.
            assert "/last_operation" in line, (line, response)
            assert monotonic() < deadline, (line, response)


def is_as_shown(response: tuple[int, object], status: int, body: str) -> bool:
    """Whether a response has a status and a body. A body that ends in `…` is the beginning of it."""
    if body.endswith("…"):
        shown = json.dumps(response[1]).startswith(body.removesuffix("…").rstrip())
    else:
        shown = response[1] == json.loads(body)
    return response[0] == status and shown


def curl(line: str, port: int) -> tuple[int, object]:
    """Send the request of a curl command with the options that the README uses."""
    parser = argparse.ArgumentParser()
    parser.add_argument("url")
    parser.add_argument("-u", dest="user", required=True)
    parser.add_argument("-H", dest="headers", action="append", default=[])
    parser.add_argument("-X", dest="method", default="GET")
    parser.add_argument("-d", dest="data")
    options = parser.parse_args(shlex.split(line)[1:])
    headers = dict(header.split(": ", 1) for header in options.headers)
    headers["Authorization"] = "Basic " + base64.b64encode(options.user.encode()).decode()
    url = urlsplit(options.url)
    assert url.netloc == "127.0.0.1:8080"
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request(options.method, f"{url.path}?{url.query}", options.data, headers)
    response = connection.getresponse()
    body = json.loads(response.read())
    connection.close()
    return response.status, body
