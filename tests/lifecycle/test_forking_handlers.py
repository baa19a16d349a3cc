"""Handlers that fork: the child ends where it leaves the handler, and only the parent ends the attempt."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import pytest

from brokerkit import Binding, Provisioned

from ..support.broker import BINDING, IDS, INSTANCE, PROVISION, Recorder
from ..support.stateful import CAN_POLL, CHANGING, POLLED, Serve, poll_until_done, until

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")


def exit_child() -> Any:
    sys.exit(3)


def fail_child() -> Any:
    raise ValueError("inside of the child")


def return_from_child() -> Any:
    return Provisioned(data={"from": "child"})


EXITS: dict[Callable[[], Any], int] = {exit_child: 3, fail_child: 1, return_from_child: 0}


class Children:
    """The children that handlers forked, and their exit status."""

    def __init__(self) -> None:
        self.pids: list[int] = []

    def fork(self) -> int:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # the process has other threads
            pid = os.fork()
        self.pids.append(pid)
        return pid

    def status(self) -> int:
        """Wait for the end of the only child and return its exit status."""
        (pid,) = self.pids
        ended: list[int] = []

        def has_ended() -> bool:
            ended_pid, status = os.waitpid(pid, os.WNOHANG)
            ended.append(status)
            return ended_pid == pid

        until(has_ended)
        return os.waitstatus_to_exitcode(ended[-1])


@pytest.mark.parametrize("leave", EXITS, ids=lambda leave: leave.__name__)
@pytest.mark.parametrize("kind", ["synchronous", "async", "function", "generator", "after yield"])
def test_forked_child_ends_with_its_handler(
    serve: Serve, recorder: Recorder, kind: str, leave: Callable[[], Any]
) -> None:
    """The parent's result is stored, and the child exits with the status that it would have had."""
    children = Children()
    result = Provisioned(data={"from": "parent"})

    def handle(request: Any) -> Any:
        return leave() if children.fork() == 0 else result

    async def handle_async(request: Any) -> Any:
        return handle(request)

    def steps(request: Any) -> Generator[str, None, Any]:
        yield "Forking"
        if children.fork() == 0:
            return leave()
        yield "Forked"
        return result

    def steps_after_yield(request: Any) -> Generator[str, None, Any]:
        is_child = children.fork() == 0
        yield "Forked"  # the child leaves its handler here
        return leave() if is_child else result

    handlers: dict[str, Any] = {"async": handle_async, "generator": steps, "after yield": steps_after_yield}
    recorder.answers["provision"] = handlers.get(kind, handle)
    is_background = kind not in ("synchronous", "async")
    platform = serve(recorder, background=["provision"] if is_background else [])
    response = platform.put(INSTANCE, PROVISION, query=CAN_POLL)
    if is_background:
        assert poll_until_done(platform, INSTANCE, response.json["operation"])["state"] == "succeeded"
    else:
        assert response.status_code == 201
    assert children.status() == (0 if kind == "after yield" else EXITS[leave])
    platform.put(BINDING, IDS, query=CAN_POLL)
    assert recorder.requests[-1].instance.data == {"from": "parent"}


def test_forked_child_of_fetch_handler_ends(serve: Serve, recorder: Recorder) -> None:
    children = Children()

    def handle(request: Any) -> Any:
        return exit_child() if children.fork() == 0 else Binding()

    platform = serve(recorder, handlers=[*CHANGING, *POLLED, "get_binding"])
    platform.put(INSTANCE, PROVISION)
    platform.put(BINDING, IDS)
    recorder.answers["get_binding"] = handle
    assert platform.get(BINDING).status_code == 200
    assert children.status() == EXITS[exit_child]


def test_child_of_background_handler_may_outlive_it(serve: Serve, recorder: Recorder, tmp_path: Path) -> None:
    """A child that has not left the handler yet does not keep the operation in progress."""
    children, release = Children(), tmp_path / "release"

    def handle(request: Any) -> None:
        if children.fork() == 0:
            until(release.exists)
            sys.exit(4)

    recorder.answers["provision"] = handle
    platform = serve(recorder, background=["provision"])
    operation = platform.put(INSTANCE, PROVISION, query=CAN_POLL).json["operation"]
    assert poll_until_done(platform, INSTANCE, operation)["state"] == "succeeded"
    release.touch()
    assert children.status() == 4
