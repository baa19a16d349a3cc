"""Registration, lookup and invocation of handler functions."""

from __future__ import annotations

from .._internal.facade import set_home
from .group import HandlerGroup, SetupError

__all__ = ["HandlerGroup", "SetupError"]

set_home(__name__, SetupError)
