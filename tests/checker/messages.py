"""Requests, responses and stored resources of the reference broker."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from msgspec import Struct

from brokerkit.requests import Operation

Node = dict[str, Any]


class Rejection(Exception):
    """A rejected request."""

    def __init__(self, status: int, word: str | None, **headers: str) -> None:
        self.status, self.word = status, word
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}


class BrokerRequest(Struct):
    """A request to the reference broker.

    Args:
        body: The JSON object in `raw`; empty if it is none.
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
        """Encode the changed `body`."""
        if self.body:
            self.raw = json.dumps(self.body).encode()


class BrokerResponse(Struct):
    """A response of the reference broker; `word` is the error code of a rejection."""

    status: int
    body: Any
    headers: dict[str, str] = {}
    word: str | None = None
    hangs_up: bool = False


class PendingOperation(Struct):
    """An asynchronous operation."""

    name: str
    operation: Operation
    body: Node
    then: Callable[[], None]
    left: int
    state: str = "in progress"
    quick: bool = False

    @property
    def is_in_progress(self) -> bool:
        return self.state == "in progress"


class StoredResource(Struct):
    """A stored service instance or service binding."""

    attributes: Node
    parameters: Node
    uri: str = ""
    ready: bool = False
    operation: PendingOperation | None = None

    @property
    def busy(self) -> PendingOperation | None:
        return self.operation if self.operation is not None and self.operation.is_in_progress else None

    @property
    def is_being_deleted(self) -> bool:
        return self.busy is not None and self.busy.operation in (Operation.DEPROVISION, Operation.UNBIND)


def read_json(raw: bytes | None) -> Any:
    try:
        return json.loads(raw or b"")
    except ValueError:
        return None
