"""`Broker`: what users hold."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from functools import cached_property

from flask import Blueprint

from ._handler_table import signature_faults
from ._headers import parse_minimum_version
from ._pipeline import Pipeline, Settings
from .auth import Authenticator
from .blueprint import BrokerBlueprint
from .catalog import Catalog
from .handlers import Handler, HandlerGroup, SetupError


class Broker(HandlerGroup):
    """A service broker: a catalog, handlers for its operations, and the blueprint that serves them.

    Register handlers with the decorators of :class:`HandlerGroup`, then attach :attr:`blueprint` to a
    Flask app::

        broker = Broker(Catalog.from_file("catalog.yml"), auth=BasicAuth.from_env())

        @broker.provision
        def provision(request): ...

        app.register_blueprint(broker.blueprint)

    Args:
        catalog: What it offers; or a function that returns it, called in every request, which returns the
            same object for as long as nothing changed.
        auth: Who may call. There is no default; ``NoAuth()`` lets everyone.
        require_organization: Refuse a provision that names no organization and space (R-PROV). Switch it
            off for platforms that have none.
        minimum_api_version: The least version of the API that a platform must speak (R-REQ-1).
        max_body: How many bytes the body of a request may have.

    Raises:
        TypeError: `catalog` or `auth` is no such thing.
        ValueError: `minimum_api_version` or `max_body` makes no sense.
    """

    def __init__(
        self,
        catalog: Catalog | Callable[[], Catalog],
        *,
        auth: Authenticator,
        require_organization: bool = True,
        minimum_api_version: str = "2.13",
        max_body: int = 1024 * 1024,
    ) -> None:
        super().__init__()
        if isinstance(catalog, type) or not (isinstance(catalog, Catalog) or callable(catalog)):
            raise TypeError(
                f"Broker: the catalog is of the type {type(catalog).__name__}; give a Catalog, such as"
                ' Catalog.from_file("catalog.yml"), or a function that returns one'
            )
        if isinstance(auth, type):
            raise TypeError(f"Broker: auth is the class {auth.__name__}; make one: {auth.__name__}(…)")
        if inspect.iscoroutinefunction(auth):
            raise TypeError("Broker: auth is an async function; give a plain one")
        if not callable(auth):
            raise TypeError(
                f"Broker: auth is of the type {type(auth).__name__}; give an authenticator, such as"
                " BasicAuth.from_env(), or NoAuth() to let everyone call"
            )
        if not isinstance(max_body, int) or max_body < 1:
            raise ValueError(f"Broker(max_body={max_body!r}): give the number of bytes, at least 1")
        self._groups: list[HandlerGroup] = [self]
        self._pipeline = Pipeline(
            self,
            catalog,
            Settings(auth, require_organization, parse_minimum_version(minimum_api_version), max_body),
        )

    @property
    def handlers(self) -> Sequence[Handler]:
        """All that was registered, on the broker and on the groups that it includes."""
        return tuple(handler for group in self._groups for handler in group._handlers)

    def include(self, group: HandlerGroup) -> None:
        """Take in the handlers of a group, also those that it gets later, until the blueprint is attached.

        Raises:
            TypeError: It is no `HandlerGroup`.
            ValueError: The group is included already.
            RuntimeError: The blueprint is attached already.
        """
        if isinstance(group, Broker):
            raise TypeError(
                "broker.include: a Broker is attached to an app; put its handlers in a HandlerGroup"
            )
        if not isinstance(group, HandlerGroup):
            raise TypeError(
                f"broker.include takes a HandlerGroup, not a {type(group).__name__}; a module's group is"
                " an attribute of it"
            )
        if group in self._groups:
            raise ValueError("broker.include: this group is included already")
        if self._attached:
            raise RuntimeError(
                "broker.include comes too late: the broker's blueprint is attached to an app already"
            )
        self._groups.append(group)

    @cached_property
    def blueprint(self) -> Blueprint:
        """The blueprint with the API's endpoints; register it under any prefix, also more than once.

        When it is registered, the broker checks its handlers against its catalog, and raises
        :class:`SetupError` with all that does not fit. No handler can be added from then on.
        """
        return BrokerBlueprint(self._pipeline, self._start)

    def _start(self) -> None:
        if self._attached:
            return
        handlers = self.handlers
        faults = [*signature_faults(handlers), *self._pipeline.start(handlers)]
        if faults:
            raise SetupError(faults)
        for group in self._groups:
            group._attached = True
