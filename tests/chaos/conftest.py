"""Order and assertion messages of the chaos tests."""

from __future__ import annotations

import pytest

pytest.register_assert_rewrite("tests.chaos.invariants", "tests.chaos.customers")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the longest test first, so that the other workers do not wait for it at the end."""
    items.sort(key=lambda item: "tests/chaos/" not in item.nodeid)
