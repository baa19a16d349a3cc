"""Text helpers: truncation, single-line text, quoting, durations and plurals."""

from __future__ import annotations

ID_LIMIT = 100
"""Characters of an id or a name in a log record, message or report."""

MESSAGE_LIMIT = 500
"""Characters of a sentence from outside in a log record, message or report."""

VALUE_LIMIT = 4_000
"""Characters of a value, such as a response body, in a report."""


def truncate(text: str, limit: int = ID_LIMIT, *, count: str = "") -> str:
    """Cut a text to a number of characters and mark the cut with an ellipsis.

    Args:
        text: The text.
        limit: The maximum number of characters that stay. Defaults to :data:`ID_LIMIT`.
        count: A unit, such as ``"characters"``, to append the original length in. Defaults to none.
    """
    if len(text) <= limit:
        return text
    return f"{text[:limit]}…{f' ({len(text):,} {count})' if count else ''}"


def printable(text: str) -> str:
    """Escape each character that ends a line, controls a terminal or deceives a reader."""
    return text if text.isprintable() else "".join(c if c.isprintable() else _escape(c) for c in text)


def single_line(text: str, limit: int = ID_LIMIT) -> str:
    """Truncate a text and escape its unprintable characters, so that it fits on one line of a log."""
    return printable(truncate(text, limit))


def quote_id(resource_id: str, limit: int = ID_LIMIT) -> str:
    """Quote an id from outside for a message: one line, bounded, its end unmistakable."""
    return f"'{single_line(resource_id, limit)}'"


def plural(number: int, noun: str) -> str:
    """Write a number with its noun: ``1 rule``, ``62 rules``."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def format_duration(seconds: float) -> str:
    """Write a duration in its two greatest units: ``35 ms``, ``2.4 s``, ``5 min 12 s``, ``2 d 4 h``."""
    if seconds < 0.9995:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds < 9.95 else f"{int(seconds)} s"
    minutes, hours, days = (int(seconds) // size for size in (60, 3600, 86400))
    if hours == 0:
        return f"{minutes} min {int(seconds) % 60} s"
    return f"{hours} h {minutes % 60} min" if days == 0 else f"{days} d {hours % 24} h"


def _escape(character: str) -> str:
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
