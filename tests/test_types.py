"""Tests of the types of handlers: mypy accepts correct handlers and rejects incorrect ones."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from .support.broker import HANDLERS

FILES = Path(__file__).parent / "typing"
RIGHT, WRONG = FILES / "right.py", FILES / "wrong.py"

_ERROR = re.compile(r"(?P<place>[\w.]+:\d+): error: (?P<message>.*)")
_EXPECTED = re.compile(r"  # error: (?P<part>.+)$")


def mypy(cache: Path) -> dict[str, str]:
    """Return mypy's messages for both files by file and line."""
    command = [sys.executable, "-m", "mypy", "--strict", "--config-file=", "--no-error-summary"]
    run = subprocess.run(
        [*command, "--no-pretty", f"--cache-dir={cache}", RIGHT.name, WRONG.name],
        cwd=FILES,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode in (0, 1), run.stdout + run.stderr
    messages: dict[str, str] = {}
    for match in filter(None, map(_ERROR.match, run.stdout.splitlines())):
        place = match["place"]
        messages[place] = messages.get(place, "") + match["message"]
    return messages


def expected(file: Path) -> dict[str, str]:
    """Return the expected parts of mypy's messages from the comments of a file, by file and line."""
    return {
        f"{file.name}:{number}": match["part"]
        for number, line in enumerate(file.read_text().splitlines(), start=1)
        if (match := _EXPECTED.search(line))
    }


@pytest.mark.integration
def test_mypy_accepts_only_correct_handlers(
    tmp_path: Path,
) -> None:
    """Exactly the lines with a comment `# error: …` are rejected, each with the message in the comment."""
    parts = {**expected(RIGHT), **expected(WRONG)}
    errors = mypy(tmp_path)
    assert errors.keys() == parts.keys()
    assert {place: errors[place] for place, part in parts.items() if part not in errors[place]} == {}


def test_type_fixtures_expect_the_intended_errors() -> None:
    """The file of correct handlers expects no error; the other expects more than 30."""
    assert expected(RIGHT) == {}
    assert len(expected(WRONG)) > 30


@pytest.mark.parametrize("file", [RIGHT, WRONG], ids=lambda file: str(file.name))
@pytest.mark.parametrize("operation", HANDLERS)
def test_type_fixtures_cover_every_decorator(operation: str, file: Path) -> None:
    assert re.search(rf"^@(broker|group)\.{operation}\b", file.read_text(), re.MULTILINE)
