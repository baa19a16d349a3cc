"""Records of `logging` as lines of JSON; the only module that knows python-json-logger."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import partial
from math import isfinite
from typing import Any

from msgspec.json import Encoder

try:
    from pythonjsonlogger.defaults import unknown_default
    from pythonjsonlogger.json import JsonFormatter
except ModuleNotFoundError as missing:
    raise ModuleNotFoundError(
        "JSONFormatter needs python-json-logger: pip install python-json-logger", name=missing.name
    ) from None


_ENCODE = Encoder().encode
_PLAIN = frozenset({str, int, bool})


def _is_plain(value: object) -> bool:
    kind = type(value)
    return kind in _PLAIN or (kind is float and isfinite(value))  # type: ignore[arg-type]


class JSONFormatter(JsonFormatter):
    """Writes each record as a JSON object on a line, in ASCII.

    Its members are `timestamp` (RFC 3339, in UTC), `level`, `logger`, `message`, the fields that the record
    was given by `extra` or a filter, and `exception` and `stack`, where there is one. There are no nulls;
    what JSON cannot hold is written as a text.

    Args:
        static_fields: What each line has beside that, such as ``{"service": "databases"}``.
    """

    def __init__(self, *, static_fields: Mapping[str, object] | None = None) -> None:
        super().__init__(
            ("timestamp", "level", "logger", "message"),
            rename_fields={"exc_info": "exception", "stack_info": "stack"},
            static_fields=dict(static_fields or {}),
            json_serializer=partial(json.dumps, allow_nan=False),
        )

    def process_log_record(self, log_data: dict[str, Any]) -> dict[str, Any]:
        """Leave out what is not there."""
        return {name: value for name, value in log_data.items() if value is not None}

    def add_fields(
        self, log_data: dict[str, Any], record: logging.LogRecord, message_dict: dict[str, Any]
    ) -> None:
        """As its base does; the four that every line has are the record's, whatever it was given."""
        super().add_fields(log_data, record, message_dict)
        moment = datetime.fromtimestamp(record.created, UTC)
        log_data["timestamp"] = moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
        log_data["level"] = record.levelname
        log_data["logger"] = record.name
        log_data["message"] = record.message or log_data["message"] or ""

    def jsonify_log_record(self, log_data: dict[str, Any]) -> str:
        """The line; each value that JSON cannot hold as a text."""
        try:
            if all(map(_is_plain, log_data.values())):  # as those of our own lines are
                line = _ENCODE(log_data)
                if line.isascii():
                    return line.decode()
            return super().jsonify_log_record(log_data)
        except Exception:  # noqa: BLE001 - values may raise what they like
            return super().jsonify_log_record(
                {str(name): self._holdable(value) for name, value in log_data.items()}
            )

    def _holdable(self, value: object) -> object:
        try:
            super().jsonify_log_record({"value": value})
        except Exception:  # noqa: BLE001 - as above
            return unknown_default(value)
        return value
