"""A formatter that writes log records as JSON, with python-json-logger."""

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
        "JSONFormatter needs the extra 'logs': pip install 'osb-brokerkit[logs]'", name=missing.name
    ) from None


_ENCODE = Encoder().encode
_SIMPLE_TYPES = frozenset({str, int, bool})


def _is_simple(value: object) -> bool:
    kind = type(value)
    return kind in _SIMPLE_TYPES or (kind is float and isfinite(value))  # type: ignore[arg-type]


class JSONFormatter(JsonFormatter):
    """A formatter that writes each record as one line: a JSON object in ASCII.

    Its members are `timestamp` (RFC 3339, in UTC), `level`, `logger`, `message`, the fields that `extra` or a
    filter added to the record, and `exception` and `stack`, if there are any. Fields that are None are left
    out. A value that JSON cannot represent is written as a string.

    Args:
        static_fields: Further members of each line, such as ``{"service": "databases"}``. Defaults to none.
    """

    def __init__(self, *, static_fields: Mapping[str, object] | None = None) -> None:
        super().__init__(
            ("timestamp", "level", "logger", "message"),
            rename_fields={"exc_info": "exception", "stack_info": "stack"},
            static_fields=dict(static_fields or {}),
            json_serializer=partial(json.dumps, allow_nan=False),
        )

    def process_log_record(self, log_data: dict[str, Any]) -> dict[str, Any]:
        """Leave out the members that are None."""
        return {name: value for name, value in log_data.items() if value is not None}

    def add_fields(
        self, log_data: dict[str, Any], record: logging.LogRecord, message_dict: dict[str, Any]
    ) -> None:
        """Add the record's fields; `extra` cannot replace the four members that every line has."""
        super().add_fields(log_data, record, message_dict)
        created_at = datetime.fromtimestamp(record.created, UTC)
        log_data["timestamp"] = created_at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
        log_data["level"] = record.levelname
        log_data["logger"] = record.name
        log_data["message"] = record.message or log_data["message"] or ""

    def jsonify_log_record(self, log_data: dict[str, Any]) -> str:
        """Encode the members as a line, and values that JSON cannot represent as strings."""
        try:
            if all(map(_is_simple, log_data.values())):  # as in most records of `EventLogger`
                line = _ENCODE(log_data)
                if line.isascii():
                    return line.decode()
            return super().jsonify_log_record(log_data)
        except Exception:  # noqa: BLE001 - the methods of a value may raise any exception
            return super().jsonify_log_record(
                {str(name): self._encodable(value) for name, value in log_data.items()}
            )

    def _encodable(self, value: object) -> object:
        try:
            super().jsonify_log_record({"value": value})
        except Exception:  # noqa: BLE001 - the methods of a value may raise any exception
            return unknown_default(value)
        return value
