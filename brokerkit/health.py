"""How a broker is, for load balancers, and the blueprint that tells them."""

from __future__ import annotations

import logging
from collections.abc import Callable
from enum import StrEnum
from functools import partial

import msgspec
from flask import Response

from ._registering import BrokersBlueprint, in_json

_logger = logging.getLogger("brokerkit")

_PATH = "/health"


class Word(StrEnum):
    """What is said of a broker, and of a part of it."""

    OK = "ok"
    FAILED = "failed"
    UNKNOWN = "unknown"
    STOPPING = "stopping"

    @classmethod
    def of(cls, fact: bool) -> Word:
        """The word for what is so, or is not."""
        return cls.OK if fact else cls.FAILED


class Health(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How a broker is.

    Args:
        status: The broker in this process: may it be sent requests?
        store: Can its store be reached? None where there is none, as of the next two.
        schema: Do its tables have the version that this brokerkit works with?
        executor: Does its background work go on in this process?
    """

    status: Word
    store: Word | None = None
    schema: Word | None = None
    executor: Word | None = None

    @classmethod
    def of(cls, *, store: Word, schema: Word, executor: Word) -> Health:
        """The broker is in order if all of it is."""
        status = Word.of(store == schema == executor == Word.OK)
        return cls(status=status, store=store, schema=schema, executor=executor)


class HealthBlueprint(BrokersBlueprint):
    """The blueprint of a broker's health; `app.register_blueprint` takes it, under any prefix.

    Args:
        ready: Tells whether this process may be sent requests.
        alive: Tells whether it can go on, or must be restarted.
    """

    def __init__(self, ready: Callable[[], Health], alive: Callable[[], Health]) -> None:
        super().__init__("brokerkit-health", __name__)
        for path, ask in ((_PATH, ready), (f"{_PATH}/live", alive)):
            self.add_reading(path, ask.__name__, partial(_tell, ask))


def _tell(ask: Callable[[], Health]) -> Response:
    try:
        health = ask()
    except Exception:  # who asks is not to be told what went wrong
        _logger.exception("how the broker is could not be found out")
        health = Health(status=Word.FAILED)
    return in_json(200 if health.status is Word.OK else 503, health)
