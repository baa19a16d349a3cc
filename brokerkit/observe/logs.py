"""Lines of the log for all that a broker does, and its ids on the lines of your own.

In one line, of text or (extra `logs`) of JSON::

    logging.basicConfig(level="INFO", handlers=[json_handler()])
    log_lifecycle(broker)

Or by `logging.config.dictConfig`, to show the fields in a format of your own, on the lines that your handlers
log too, and of the logger `brokerkit` only what goes wrong::

    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "filters": {"context": {"()": "brokerkit.observe.logs.ContextFilter"}},
            "formatters": {
                "text": {"format": "%(asctime)s %(levelname)s %(name)s [%(instance_id)s] %(message)s"},
                "json": {"()": "brokerkit.observe.logs.JSONFormatter"},
            },
            "handlers": {
                "stderr": {"class": "logging.StreamHandler", "formatter": "text", "filters": ["context"]},
            },
            "loggers": {"brokerkit": {"level": "WARNING"}, "brokerkit.events": {"level": "INFO"}},
            "root": {"level": "INFO", "handlers": ["stderr"]},
        }
    )
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, TextIO
from weakref import WeakKeyDictionary

from ..broker import Broker
from ._context_filter import ContextFilter
from ._event_logger import SECRET_FIELDS, EventLogger
from ._subscriptions import subscribe

if TYPE_CHECKING:
    from ._json_formatter import JSONFormatter

__all__ = ["ContextFilter", "JSONFormatter", "json_handler", "log_lifecycle"]

_LINES: WeakKeyDictionary[Broker, dict[logging.Logger, EventLogger]] = WeakKeyDictionary()


def log_lifecycle(
    broker: Broker, logger: logging.Logger | None = None, *, fields: Iterable[str] = ()
) -> None:
    """Log a line for each request that was answered, and for each event in the life of what it made.

    A line has its facts in its message and, for formatters, in `extra`: `event` (``"request finished"``,
    ``"provisioned"``, …), the fields of `ContextFilter`, and `status`, `seconds`, `error`, `description` (of
    progress), `end` (of an attempt), `method`, `path` and `remote_addr` (of who was not let in). Each line
    has all of them, None where there is nothing to tell. `error` is the description of a `BrokerError`, and
    of any other exception the name of its class alone.

    The level is ERROR for what broke: an answer of 500 or more, an attempt that ended with another exception
    than a `BrokerError`; WARNING for an operation that failed after its answer, and for who was not let
    in; INFO for all else. The logger `brokerkit` has the tracebacks.

    Called again for the same broker and logger it doubles nothing: the new `fields` hold.

    Args:
        broker: The broker.
        logger: Where the lines go; without it the logger `brokerkit.events`.
        fields: What else to show: ``"parameters"``, ``"credentials"``. Their structure and names are told, of
            each value only that there is one.

    Raises:
        ValueError: `fields` has another name.
        TypeError: `broker` is no `Broker`, or `logger` no `logging.Logger`.
    """
    logger = logging.getLogger("brokerkit.events") if logger is None else logger
    if not isinstance(logger, logging.Logger):
        raise TypeError(
            f"a {type(logger).__name__} is no logger; give one, such as logging.getLogger('broker')"
        )
    secret_fields = _checked(fields)
    lines = _LINES.get(broker, {}).get(logger) if isinstance(broker, Broker) else None
    if lines is None:
        lines = EventLogger(logger)
        subscribe(broker, lines.receivers())
        _LINES.setdefault(broker, {})[logger] = lines
    lines.secret_fields = secret_fields


def json_handler(stream: TextIO | None = None) -> logging.StreamHandler[TextIO]:
    """A handler that writes lines of JSON, with the ids of the request that each belongs to.

    Args:
        stream: Where to; without it stderr.

    Returns:
        One with a `JSONFormatter` and a `ContextFilter`.

    Raises:
        ModuleNotFoundError: python-json-logger is not installed.
    """
    from ._json_formatter import JSONFormatter

    handler = logging.StreamHandler(stream)
    handler.setFormatter(JSONFormatter())
    handler.addFilter(ContextFilter())
    return handler


def __getattr__(name: str) -> Any:
    """`JSONFormatter`, which alone needs the extra `logs`."""
    if name != "JSONFormatter":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from ._json_formatter import JSONFormatter

    return JSONFormatter


def _checked(fields: Iterable[str]) -> frozenset[str]:
    names = frozenset((fields,) if isinstance(fields, str) else fields)
    unknown = sorted(names - SECRET_FIELDS)
    if unknown:
        known = " and ".join(map(repr, sorted(SECRET_FIELDS)))
        raise ValueError(f"fields: {', '.join(map(repr, unknown))} cannot be shown; known are {known}")
    return names
