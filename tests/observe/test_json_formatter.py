"""JSON lines: an object with the standard members for any record."""

from __future__ import annotations

import io
import json
import logging
import math
import re
import subprocess
import sys
from datetime import UTC, datetime
from enum import Enum
from typing import Any

import pytest

from brokerkit import Broker, Operation
from brokerkit.observe import logs
from brokerkit.observe.logs import JSONFormatter, json_handler, log_lifecycle

from ..server.test_signals import send
from ..support.broker import Platform


def logged(message: object = "hello", **more: Any) -> dict[str, Any]:
    """The line that is written of a call."""
    stream = io.StringIO()
    logger = logging.Logger("my.logger")
    logger.addHandler(json_handler(stream))
    logger.warning(message, **more)
    (line,) = stream.getvalue().splitlines()
    members: dict[str, Any] = json.loads(line, parse_constant=pytest.fail)
    return members


def test_json_line_omits_null_fields() -> None:
    line = logged(extra={"here": 1, "none": None})
    assert line.pop("timestamp")
    assert line == {"level": "WARNING", "logger": "my.logger", "message": "hello", "here": 1}


def test_json_timestamp_is_rfc_3339_utc() -> None:
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", logged()["timestamp"])


def test_json_standard_fields_cannot_be_overridden() -> None:
    fields = {"timestamp": "never", "level": "NONE", "logger": "other"}
    for line in (logged(extra=fields), logged({**fields, "message": "hello"})):
        assert line["level"] == "WARNING"
        assert (line["logger"], line["message"]) == ("my.logger", "hello")
        assert line["timestamp"] != "never"


def test_json_exception_and_stack_are_text() -> None:
    try:
        raise LookupError("x")
    except LookupError:
        line = logged(exc_info=True, stack_info=True)
    assert line["exception"].startswith("Traceback (most recent call last):\n")
    assert line["exception"].endswith("LookupError: x")
    assert line["stack"].startswith("Stack (most recent call last):\n")


class Odd:
    def __str__(self) -> str:
        raise ValueError

    __repr__ = __str__


class Colour(Enum):
    RED = "red"


CIRCLE: list[Any] = []
CIRCLE.append(CIRCLE)
DEEP: list[Any] = []
for _ in range(100_000):
    DEEP = [DEEP]


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (math.nan, "nan"),
        (math.inf, "inf"),
        ({1, 2}, "{1, 2}"),
        ({(1, 2): 3}, "{(1, 2): 3}"),
        (CIRCLE, "[[...]]"),
        (DEEP, "__could_not_encode__"),
        (Odd(), "__could_not_encode__"),
        (Colour.RED, "red"),
        (Operation.BIND, "bind"),
        (datetime(2026, 1, 2, tzinfo=UTC), "2026-01-02T00:00:00+00:00"),
        (ValueError("x"), "ValueError: x"),
        ("\ud800\u2028\n\x1b", "\ud800\u2028\n\x1b"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_json_converts_unserializable_values_to_text(value: object, written: object) -> None:
    line = logged(extra={"value": value, "other": 1})
    assert (line["value"], line["other"], line["message"]) == (written, 1, "hello")


def test_json_static_fields_are_on_each_line() -> None:
    record = logging.makeLogRecord({"msg": "hello"})
    assert json.loads(JSONFormatter(static_fields={"service": "db"}).format(record))["service"] == "db"


def test_json_handler_writes_lifecycle_events(broker: Broker, platform: Platform) -> None:
    stream = io.StringIO()
    logger = logging.Logger("events", "INFO")
    logger.addHandler(json_handler(stream))
    log_lifecycle(broker, logger)
    send(platform, "provision")
    events = [json.loads(line)["event"] for line in stream.getvalue().splitlines()]
    assert events == ["provisioned", "request finished"]


def run(program: str) -> str:
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    return done.stdout + done.stderr


@pytest.mark.integration
def test_missing_python_json_logger_affects_only_json() -> None:
    """Without python-json-logger only the JSON parts fail, and the error names the install command."""
    output = run(
        "import sys\n"
        "sys.modules['pythonjsonlogger'] = None\n"
        "from brokerkit.observe.logs import json_handler, log_lifecycle\n"
        "try:\n"
        "    json_handler()\n"
        "except ModuleNotFoundError as error:\n"
        "    print(error)\n"
        "from brokerkit.observe.logs import JSONFormatter\n"
    )
    needed = "JSONFormatter needs the extra 'logs': pip install 'osb-brokerkit[logs]'"
    assert output.splitlines()[0] == needed
    assert output.splitlines()[-1] == f"ModuleNotFoundError: {needed}"


@pytest.mark.integration
def test_documented_dict_config_works() -> None:
    """The `dictConfig` example of the documentation works with text and with JSON."""
    assert logs.__doc__ is not None
    _, begin, example = logs.__doc__.partition("    logging.config.dictConfig(")
    program = f"import logging.config\n{begin}{example}".replace("\n    ", "\n")
    program += "logging.getLogger('mine').info('hello')\nlogging.getLogger('brokerkit').info('not this')\n"
    assert run(program).endswith(" INFO mine [None] hello\n")
    (line,) = run(program.replace(': "text"', ': "json"')).splitlines()
    assert json.loads(line)["message"] == "hello"


def test_logs_module_rejects_unknown_attributes() -> None:
    with pytest.raises(AttributeError, match=r"'brokerkit\.observe\.logs' has no attribute 'Nothing'"):
        logs.Nothing  # noqa: B018
