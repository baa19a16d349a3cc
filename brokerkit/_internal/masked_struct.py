"""Structs that keep secrets out of their ``repr``.

Requests and results pass through logs, tracebacks, debuggers and signal receivers, which must not show the
secrets of a platform's user.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import msgspec

MASK = "***"
"""The replacement of a secret."""


class Masked(msgspec.Struct, frozen=True, kw_only=True):
    """A frozen struct whose ``repr`` shows :data:`MASK` for the fields in ``_secret``.

    For the fields in ``_brief``, it shows only the `name` of the value.
    """

    _secret: ClassVar[frozenset[str]] = frozenset()
    _brief: ClassVar[frozenset[str]] = frozenset()

    def __rich_repr__(self) -> Iterator[tuple[str, object]]:  # type: ignore[override]
        for name in self.__struct_fields__:
            value = getattr(self, name)
            if name in self._brief:
                value = getattr(value, "name", value)
            yield name, MASK if name in self._secret and value else value

    def __repr__(self) -> str:
        fields = (
            f"{name}={value}" if value is MASK else f"{name}={value!r}"
            for name, value in self.__rich_repr__()
        )
        return f"{type(self).__name__}({', '.join(fields)})"
