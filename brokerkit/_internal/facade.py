"""Helpers for a package's ``__init__`` that publishes names from its modules."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module


def set_home(package: str, *classes: type) -> None:
    """Set the module of classes to the package that users import them from.

    Tracebacks, reprs and pickles then name the package. Do not use it for classes whose annotations are
    evaluated later, such as structs: they are evaluated in the namespace of ``__module__``.

    Args:
        package: The ``__name__`` of the package.
        *classes: The classes.
    """
    for class_ in classes:
        class_.__module__ = package


def lazy(package: str, names: Mapping[str, str]) -> Callable[[str], object]:
    """Create the ``__getattr__`` of a package that imports some of its names on first use.

    It is for names that need an optional dependency.

    Args:
        package: The ``__name__`` of the package.
        names: Each public name with the module that defines it, relative to the package.

    Returns:
        The function. It raises `AttributeError` for any other name, and the `ModuleNotFoundError` of the
        module if its dependency is not installed.
    """

    def getattr_(name: str) -> object:
        if name not in names:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(import_module(names[name], package), name)

    return getattr_
