"""Blueprints of a broker's: registered under any prefix, and more than once."""

from __future__ import annotations

from collections.abc import Callable
from itertools import chain, count
from typing import Any

import msgspec
from flask import Blueprint, Flask, Response
from flask.globals import request

_READING = ("GET", "HEAD")
_NOT_ALLOWED = {
    "error": "MethodNotAllowed",
    "description": f"The methods of this path are {' and '.join(_READING)}.",
}
_ALL_METHODS = (*_READING, "OPTIONS", "POST", "PUT", "PATCH", "DELETE")


class BaseBlueprint(Blueprint):
    """A blueprint that gets a name of its own where none is given, so that there may be several in an app."""

    def register(self, app: Flask, options: dict[str, Any]) -> None:  # type: ignore[override]
        """Take part in an app."""
        if "name" not in options:
            prefix = f"{options['name_prefix']}." if options.get("name_prefix") else ""
            names = chain([self.name], (f"{self.name}-{number}" for number in count(2)))
            options["name"] = next(name for name in names if prefix + name not in app.blueprints)
        super().register(app, options)

    def add_read_only_rule(self, path: str, name: str, read: Callable[[], Response]) -> None:
        """Route a path to what is read there; whoever would do anything else gets a 405."""

        def view(**_: str) -> Response:
            if request.method not in _READING:
                return json_response(405, _NOT_ALLOWED, Allow=", ".join(_READING))
            return read()

        self.add_url_rule(
            path, name, view, methods=_ALL_METHODS, provide_automatic_options=False, merge_slashes=False
        )


def json_response(status: int, body: object, **headers: str) -> Response:
    """An answer that nobody is to keep."""
    told = {"Cache-Control": "no-store", **headers}
    return Response(msgspec.json.encode(body), status, told, mimetype="application/json")


def is_broker_endpoint(app: Flask, endpoint: str) -> bool:
    """Is an endpoint one of these blueprints'?"""
    return isinstance(app.blueprints.get(endpoint.rpartition(".")[0]), BaseBlueprint)
