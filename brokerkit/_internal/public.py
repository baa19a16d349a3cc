"""What a package's ``__init__`` needs to be the public home of names that are defined in its modules."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module


def set_home(package: str, *classes: type) -> None:
    """Let classes name the package that users import them from, in tracebacks and reprs.

    Only for classes without annotations that are evaluated later: those are looked up in ``__module__``.

    Args:
        package: The package's ``__name__``.
        *classes: The classes.
    """
    for public in classes:
        public.__module__ = package


def lazy(package: str, names: Mapping[str, str]) -> Callable[[str], object]:
    """Make the ``__getattr__`` of a package whose names need an optional dependency.

    Args:
        package: The package's ``__name__``.
        names: Public name to the module that defines it, relative to the package.

    Returns:
        The function. It raises `AttributeError` for any other name, and `ModuleNotFoundError`, with the
        remedy, if the dependency is not installed.
    """

    def getattr_(name: str) -> object:
        if name not in names:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(import_module(names[name], package), name)

    return getattr_
