"""The demo shows a broker that is right, and finds one that is wrong."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of what the demo needs, to break."""
    for folder in ("samples", "tests/data"):
        shutil.copytree(ROOT / folder, tmp_path / folder)
    return tmp_path


FIRST_OF_UNBIND = "def unbind(request: osb.UnbindRequest) -> None:\n"


def demo(folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "samples/demo.py"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_the_demo_replays_three_platforms_and_ends_by_itself(checkout: Path) -> None:
    done = demo(checkout)
    assert done.returncode == 0, done.stdout + done.stderr
    for platform in ("Cloud Foundry", "Korifi", "Kubernetes"):
        assert platform in done.stdout
    assert "in progress" in done.stdout
    assert "kill -9" in done.stdout
    assert "each as the rules say" in done.stdout
    assert "\033" not in done.stdout, "no colours where there is no terminal"


@pytest.mark.parametrize(
    ("right", "wrong", "told"),
    [
        ("return osb.Provisioned(", "return osb.Provisioned(exists=True, ", "expected 201 or 202"),
        ("    return osb.Binding(", "    return dict(", "expected 201 or 202"),
        (FIRST_OF_UNBIND, f"{FIRST_OF_UNBIND}    raise ValueError\n", "expected 200 or 202"),
        ('    yield "Starting the server"\n', "    raise ValueError\n", "wrong."),
    ],
)
def test_the_demo_ends_with_1_if_an_answer_is_not_what_the_rules_say(
    checkout: Path, right: str, wrong: str, told: str
) -> None:
    sample = checkout / "samples" / "hello.py"
    text = sample.read_text()
    assert right in text
    sample.write_text(text.replace(right, wrong))
    done = demo(checkout)
    assert done.returncode == 1, done.stdout + done.stderr
    assert told in done.stdout
