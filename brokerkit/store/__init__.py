"""The database behind a broker: tables, statements, transactions and encryption."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._internal.facade import lazy, set_home
from .errors import StoreError, StoreUnavailable

if TYPE_CHECKING:
    from .store import Store

__all__ = ["Store", "StoreError", "StoreUnavailable"]

__getattr__ = lazy(__name__, {"Store": ".store"})

set_home(__name__, StoreError, StoreUnavailable)
