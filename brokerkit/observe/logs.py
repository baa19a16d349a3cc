"""Log records for the events of a broker, and its ids in the records of your own handlers.

As text, or as JSON with the extra `logs`::

    logging.basicConfig(level="INFO", handlers=[json_handler()])
    log_lifecycle(broker)

Use `logging.config.dictConfig` to show the fields in a format of your own, also in the records of your
handlers. This example also limits the logger `brokerkit` to warnings::

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

_LOGGERS: WeakKeyDictionary[Broker, dict[logging.Logger, EventLogger]] = WeakKeyDictionary()


def log_lifecycle(
    broker: Broker, logger: logging.Logger | None = None, *, fields: Iterable[str] = ()
) -> None:
    """Log a record for each finished request, and for each event of its instances and bindings.

    A record has its facts in its message and as attributes for formatters: `event` (``"request finished"``,
    ``"provisioned"``, ...), the fields of `ContextFilter`, and `status`, `seconds`, `error`, `description`
    (of progress), `end` (of an attempt), `method`, `path` and `remote_addr` (of a failed authentication). An
    attribute without a value is None. `error` is the description of a
    `BrokerError`, and the class name of any other exception.

    The level is ERROR for a response with a status of 500 or more, and for an attempt that ended with an
    exception other than a `BrokerError`. It is WARNING for an operation that failed after its response, and
    for a failed authentication. It is INFO for all else. The logger `brokerkit` has the tracebacks.

    A second call with the same broker and logger only replaces the `fields`.

    Args:
        broker: The broker.
        logger: The logger for the records. Defaults to the logger `brokerkit.events`.
        fields: Additional secret fields: ``"parameters"``, ``"credentials"``. Their structure and names are
            logged; each value is masked. Defaults to none.

    Raises:
        ValueError: `fields` has an unknown name.
        TypeError: `broker` is not a `Broker`, or `logger` is not a `logging.Logger`.
    """
    logger = logging.getLogger("brokerkit.events") if logger is None else logger
    if not isinstance(logger, logging.Logger):
        raise TypeError(
            f"log_lifecycle: a {type(logger).__name__} is not a logger; give one, such as"
            " logging.getLogger('broker')"
        )
    secret_fields = _checked(fields)
    event_logger = _LOGGERS.get(broker, {}).get(logger) if isinstance(broker, Broker) else None
    if event_logger is None:
        event_logger = EventLogger(logger)
        subscribe(broker, event_logger.receivers())
        _LOGGERS.setdefault(broker, {})[logger] = event_logger
    event_logger.secret_fields = secret_fields


def json_handler(stream: TextIO | None = None) -> logging.StreamHandler[TextIO]:
    """Create a handler that writes records as JSON lines, with the ids of their requests.

    Args:
        stream: The stream to write to. Defaults to stderr.

    Returns:
        A handler with a `JSONFormatter` and a `ContextFilter`.

    Raises:
        ModuleNotFoundError: The extra `logs` is not installed.
    """
    from ._json_formatter import JSONFormatter

    handler = logging.StreamHandler(stream)
    handler.setFormatter(JSONFormatter())
    handler.addFilter(ContextFilter())
    return handler


def __getattr__(name: str) -> Any:
    """Import `JSONFormatter` on first use, because only it needs the extra `logs`."""
    if name != "JSONFormatter":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from ._json_formatter import JSONFormatter

    return JSONFormatter


def _checked(fields: Iterable[str]) -> frozenset[str]:
    names = frozenset((fields,) if isinstance(fields, str) else fields)
    if unknown := sorted(names - SECRET_FIELDS):
        allowed = " and ".join(map(repr, sorted(SECRET_FIELDS)))
        raise ValueError(
            f"log_lifecycle: unknown fields: {', '.join(map(repr, unknown))}; allowed are {allowed}"
        )
    return names
