"""Fixtures of brokers with a store, on SQLite and PostgreSQL."""

from __future__ import annotations

from ..support.stateful import platform, sent_signals, serve, store_url  # noqa: F401
