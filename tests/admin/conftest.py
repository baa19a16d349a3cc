"""Fixtures of brokers with a store, on SQLite and PostgreSQL."""

from __future__ import annotations

from ..support.stateful import platform, serve, store_url, told  # noqa: F401
