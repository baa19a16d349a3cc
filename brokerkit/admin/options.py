"""Options and parameter types that several commands share."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any

import click

DEFAULT_LIMIT = 50

_SECONDS = {"m": 60.0, "h": 3600.0, "d": 86400.0, "w": 7 * 86400.0}


class Age(click.ParamType[float]):
    """A duration such as 12h, 30d or 4w, converted to seconds."""

    name = "age"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Convert an age to seconds, and fail with a usage error if it is invalid."""
        match = re.fullmatch(r"([0-9]{1,9})([mhdw])", value) if isinstance(value, str) else None
        if match is None or int(match[1]) == 0:
            self.fail(f"{value!r} is not an age; use one such as 45m, 12h, 30d or 4w", param, ctx)
        return int(match[1]) * _SECONDS[match[2]]


class Since(click.ParamType[float | datetime]):
    """An age, converted to seconds, or a date or time, in this machine's time zone by default."""

    name = "since"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float | datetime:
        """Convert an age or a time, and fail with a usage error if it is invalid."""
        if not isinstance(value, str):
            self.fail(f"{value!r} is not a string", param, ctx)
        if re.fullmatch(r"[0-9]{1,9}[mhdw]", value):
            return Age().convert(value, param, ctx)
        try:
            return datetime.fromisoformat(value).astimezone()
        except (ValueError, OverflowError):
            self.fail(
                f"{value!r} is neither an age nor a time; use one such as 12h or 7d, 2026-11-01 or"
                " 2026-11-01T12:00:00Z",
                param,
                ctx,
            )


LIMIT = click.IntRange(1, 1_000_000_000)  # within the integers of every database

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
limit_option = click.option(
    "--limit", type=LIMIT, default=DEFAULT_LIMIT, show_default=True, help="The maximum number of rows."
)
reveal_option = click.option("--reveal", is_flag=True, help="Include parameters, credentials and data.")
