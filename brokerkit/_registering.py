"""Blueprints of a broker's: registered under any prefix, and more than once."""

from __future__ import annotations

from itertools import chain, count
from typing import Any

from flask import Blueprint, Flask


class BrokersBlueprint(Blueprint):
    """A blueprint that gets a name of its own where none is given, so that there may be several in an app."""

    def register(self, app: Flask, options: dict[str, Any]) -> None:  # type: ignore[override]
        """Take part in an app."""
        if "name" not in options:
            prefix = f"{options['name_prefix']}." if options.get("name_prefix") else ""
            names = chain([self.name], (f"{self.name}-{number}" for number in count(2)))
            options["name"] = next(name for name in names if prefix + name not in app.blueprints)
        super().register(app, options)


def is_a_brokers(app: Flask, endpoint: str) -> bool:
    """Is an endpoint one of these blueprints'?"""
    return isinstance(app.blueprints.get(endpoint.rpartition(".")[0]), BrokersBlueprint)
