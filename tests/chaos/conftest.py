"""When these tests run, and how their helpers say what is wrong."""

from __future__ import annotations

import pytest

pytest.register_assert_rewrite("tests.chaos.invariants", "tests.chaos.customers")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes longest begins first, so that nobody waits for it in the end."""
    items.sort(key=lambda item: "tests/production/" not in item.nodeid)
