"""What the right broker is asked, what it answers, and what it remembers."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from msgspec import Struct

from brokerkit.requests import Operation

Node = dict[str, Any]


class Refused(Exception):
    """What is asked is refused."""

    def __init__(self, status: int, word: str | None, **headers: str) -> None:
        self.status, self.word = status, word
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}


class Asked(Struct):
    """A request.

    Args:
        body: The JSON object that `raw` is; empty if it is none.
    """

    operation: Operation | None
    instance_id: str
    binding_id: str | None
    query: dict[str, str]
    headers: dict[str, str]
    raw: bytes
    body: Node

    @property
    def can_poll(self) -> bool:
        return self.query.get("accepts_incomplete") == "true"

    @property
    def key(self) -> tuple[str, str | None]:
        return self.instance_id, self.binding_id

    def rewrite(self) -> None:
        """Have the broker read what `body` is now."""
        if self.body:
            self.raw = json.dumps(self.body).encode()


class Answer(Struct):
    """What it answers; `word` says of a refusal which one it is."""

    status: int
    body: Any
    headers: dict[str, str] = {}
    word: str | None = None
    hangs_up: bool = False


class Work(Struct):
    """An operation."""

    name: str
    asked: Operation
    body: Node
    then: Callable[[], None]
    left: int
    state: str = "in progress"
    quick: bool = False

    @property
    def goes_on(self) -> bool:
        return self.state == "in progress"


class Thing(Struct):
    """A service instance, or a service binding."""

    attributes: Node
    parameters: Node
    uri: str = ""
    ready: bool = False
    work: Work | None = None

    @property
    def busy(self) -> Work | None:
        return self.work if self.work is not None and self.work.goes_on else None

    @property
    def is_deleted_now(self) -> bool:
        return self.busy is not None and self.busy.asked in (Operation.DEPROVISION, Operation.UNBIND)


def read_json(raw: bytes | None) -> Any:
    try:
        return json.loads(raw or b"")
    except ValueError:
        return None
