"""The base class of the blueprints of a broker."""

from __future__ import annotations

from collections.abc import Callable
from itertools import chain, count
from typing import Any

import msgspec
from flask import Blueprint, Flask, Response
from flask.globals import request

_READ_METHODS = ("GET", "HEAD")
_NOT_ALLOWED = {
    "error": "MethodNotAllowed",
    "description": f"This path supports the methods {' and '.join(_READ_METHODS)} only.",
}
_ALL_METHODS = (*_READ_METHODS, "OPTIONS", "POST", "PUT", "PATCH", "DELETE")


class BaseBlueprint(Blueprint):
    """A blueprint that can be registered more than once in an app, under any prefix.

    Each registration without a `name` gets a unique one.
    """

    def register(self, app: Flask, options: dict[str, Any]) -> None:  # type: ignore[override]
        """Register the blueprint in an app under a unique name."""
        if "name" not in options:
            prefix = f"{options['name_prefix']}." if options.get("name_prefix") else ""
            names = chain([self.name], (f"{self.name}-{number}" for number in count(2)))
            options["name"] = next(name for name in names if prefix + name not in app.blueprints)
        super().register(app, options)

    def add_read_only_rule(self, path: str, name: str, respond: Callable[[], Response]) -> None:
        """Route GET and HEAD requests for a path to a function, and reject all other methods with 405.

        Args:
            path: The path below the prefix.
            name: The name of the endpoint within this blueprint.
            respond: Returns the response.
        """

        def view(**_: str) -> Response:
            if request.method not in _READ_METHODS:
                return json_response(405, _NOT_ALLOWED, Allow=", ".join(_READ_METHODS))
            return respond()

        self.add_url_rule(
            path, name, view, methods=_ALL_METHODS, provide_automatic_options=False, merge_slashes=False
        )


def json_response(status: int, body: object, **headers: str) -> Response:
    """Build a JSON response that must not be cached.

    Args:
        status: The status code.
        body: The value to encode.
        **headers: Additional headers.
    """
    all_headers = {"Cache-Control": "no-store", **headers}
    return Response(msgspec.json.encode(body), status, all_headers, mimetype="application/json")


def is_broker_endpoint(app: Flask, endpoint: str) -> bool:
    """Return whether a Flask endpoint belongs to a blueprint of a broker."""
    return isinstance(app.blueprints.get(endpoint.rpartition(".")[0]), BaseBlueprint)
