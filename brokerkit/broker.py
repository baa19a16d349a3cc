"""The class `Broker`, with which users build a service broker."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING

from flask import Blueprint, Flask

from .auth import Authenticator, check_authenticator
from .catalog.models import Catalog
from .handlers.group import Handler, HandlerGroup, SetupError
from .handlers.table import signature_faults
from .health import Health, HealthStatus
from .protocol.headers import parse_minimum_version
from .server.blueprint import BrokerBlueprint
from .server.dispatch import Dispatch, StatelessDispatch
from .server.health import HealthBlueprint
from .server.pipeline import Pipeline, Settings
from .stats import StoreStats

if TYPE_CHECKING:
    from click import Command

    from .background.executors import Executor
    from .background.runtime import Runtime
    from .store.store import Store


class Broker(HandlerGroup):
    """A service broker: a catalog, handlers for its operations, and the blueprint that serves them.

    Register handlers with the decorators of :class:`HandlerGroup`, then attach :attr:`blueprint` to a
    Flask app::

        broker = Broker(Catalog.from_file("catalog.yml"), auth=BasicAuth.from_env())

        @broker.provision
        def provision(request): ...

        app.register_blueprint(broker.blueprint)

    Args:
        catalog: The service catalog; or a function that returns it, which is called for each request. The
            function must return the same object as long as nothing has changed.
        auth: The authenticator. Required; ``NoAuth()`` accepts every caller.
        require_organization: Whether a provision request must name an organization and a space (R-PROV).
            Defaults to True. Switch it off for platforms that have neither.
        minimum_api_version: The lowest API version that a platform may send (R-REQ-1). Defaults to
            ``"2.13"``.
        max_body: The maximum size of a request body in bytes. Defaults to 1 MiB.
        store: The store of instances, bindings and operations: an SQLAlchemy URL, such as
            ``"sqlite:///broker.db"`` or ``"postgresql+psycopg://user:password@host/database"``; or a
            :class:`~brokerkit.store.store.Store`. Needs the extra `sql`, and `postgres` for PostgreSQL.
            Defaults to no store: the handlers must then store everything themselves.
        encryption_keys: Fernet keys that encrypt the store, the newest first. Required on PostgreSQL. On
            SQLite, defaults to a key that the broker creates in a file next to the database.
        executor: The executor of handlers with ``background=True``, such as a
            :class:`~brokerkit.celery.CeleryExecutor`. Each broker needs its own. Defaults to
            ``ThreadExecutor(workers=8)``.

    Raises:
        TypeError: `catalog`, `auth` or `executor` has a wrong type, or `executor` or `encryption_keys` is
            given without `store`.
        ValueError: `minimum_api_version` or `max_body` is out of range.
        StoreError: The store cannot be used with this configuration.
        ModuleNotFoundError: A package that the store needs is not installed.
    """

    def __init__(
        self,
        catalog: Catalog | Callable[[], Catalog],
        *,
        auth: Authenticator,
        require_organization: bool = True,
        minimum_api_version: str = "2.13",
        max_body: int = 1024 * 1024,
        store: str | Store | None = None,
        encryption_keys: Sequence[str | bytes] | None = None,
        executor: Executor | None = None,
    ) -> None:
        super().__init__()
        if isinstance(catalog, type) or not (isinstance(catalog, Catalog) or callable(catalog)):
            raise TypeError(
                f"Broker: the catalog is of the type {type(catalog).__name__}; pass a Catalog, such as"
                ' Catalog.from_file("catalog.yml"), or a function that returns one'
            )
        check_authenticator(auth, "Broker")
        if not isinstance(max_body, int) or max_body < 1:
            raise ValueError(f"Broker(max_body={max_body!r}): pass a number of bytes, at least 1")
        self._groups: list[HandlerGroup] = [self]
        self._auth = auth
        settings = Settings(auth, require_organization, parse_minimum_version(minimum_api_version), max_body)
        self._runtime: Runtime | None = None
        dispatch: Dispatch = StatelessDispatch(self)
        if store is not None:
            self._runtime, dispatch = self._set_up_store(store, encryption_keys, executor)
        elif encryption_keys is not None or executor is not None:
            raise TypeError("Broker: encryption_keys and executor need a store; pass store= too")
        self._pipeline = Pipeline(self, catalog, settings, dispatch, has_store=self._runtime is not None)

    def _set_up_store(
        self,
        store: str | Store,
        encryption_keys: Sequence[str | bytes] | None,
        executor: Executor | None,
    ) -> tuple[Runtime, Dispatch]:
        """Import and create the parts of a broker with a store.

        The imports are local, as a broker without a store must run without SQLAlchemy.
        """
        try:
            from .background.executors import ThreadExecutor
            from .background.runtime import Runtime
            from .server.stateful import StatefulDispatch
            from .store.store import Store
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError(
                f"Broker(store=…) needs {error.name}: pip install 'osb-brokerkit[sql]'",
                name=error.name,
            ) from error
        if not isinstance(store, Store):
            store = Store(store, encryption_keys=encryption_keys)
        elif encryption_keys is not None:
            raise TypeError("Broker: the store is a Store already; pass encryption_keys to the Store")
        if executor is not None and not all(
            callable(getattr(executor, name, None)) for name in ("start", "submit", "stop")
        ):
            raise TypeError(
                f"Broker: executor is of the type {type(executor).__name__}; pass an object with the methods"
                " start, submit and stop, such as ThreadExecutor()"
            )
        runtime = Runtime(self, store, executor or ThreadExecutor(), lambda: self._pipeline.current_table())
        return runtime, StatefulDispatch(runtime)

    @property
    def handlers(self) -> Sequence[Handler]:
        """The registered handlers of the broker and of its groups."""
        return tuple(handler for group in self._groups for handler in group._handlers)

    def include(self, group: HandlerGroup) -> None:
        """Include the handlers of a group.

        Handlers that the group gets later are included too, until the blueprint is registered.

        Args:
            group: The group.

        Raises:
            TypeError: `group` is not a `HandlerGroup`.
            ValueError: The group is already included.
            RuntimeError: The blueprint is already registered on an app.
        """
        if isinstance(group, Broker):
            raise TypeError(
                "broker.include: a Broker cannot be included; put its handlers into a HandlerGroup"
            )
        if not isinstance(group, HandlerGroup):
            raise TypeError(
                f"broker.include takes a HandlerGroup, not a {type(group).__name__}; for a module, pass the"
                " group that it defines"
            )
        if group in self._groups:
            raise ValueError("broker.include: this group is already included")
        if self._attached:
            raise RuntimeError(
                "broker.include is called too late: the blueprint is already registered on an app; include"
                " every group before that"
            )
        self._groups.append(group)

    @cached_property
    def blueprint(self) -> Blueprint:
        """The blueprint with the endpoints of the API; register it under any prefix, also more than once.

        At registration, the broker checks its handlers against its catalog and raises :class:`SetupError`
        with all faults. No handler can be added after that.
        """
        return BrokerBlueprint(self._pipeline, self._start, self._commands)

    @cached_property
    def health(self) -> Blueprint:
        """The blueprint with the health endpoints, for load balancers; register it under any prefix.

        ``GET /health`` returns 200 if this process can take requests, else 503. The conditions: the store can
        be reached, its tables have the right version, background work is running, and the process is not
        shutting down. The endpoint responds within a second, even while the database hangs.

        ``GET /health/live`` returns 503 only if the process must be restarted.

        Neither needs authentication.
        """
        return HealthBlueprint(self._ready, self._alive)

    def _ready(self) -> Health:
        if self._runtime is None:
            return Health(status=HealthStatus.OK)
        if self._attached:
            # A process that only gets health checks must recover the work of crashed processes too.
            self._runtime.ensure_started()
        return self._runtime.health()

    def _alive(self) -> Health:
        return Health(status=HealthStatus.of(self._runtime is None or self._runtime.is_alive))

    def _commands(self) -> list[Command]:
        from .admin.commands import AdminContext, commands

        store = self._runtime.store if self._runtime else None
        return commands(AdminContext(lambda: self._pipeline.current_table().catalog, store))

    @property
    def catalog(self) -> Catalog:
        """The current service catalog."""
        return self._pipeline.current_catalog()

    def stats(self) -> StoreStats | None:
        """Count the instances, the bindings and the operations in progress in the store.

        The store reads all its instances and bindings for that, which takes seconds for millions of them.

        Returns:
            The counts; None in a broker without a store.

        Raises:
            StoreError: The store cannot be opened.
            StoreUnavailable: The database cannot be reached.
        """
        return None if self._runtime is None else self._runtime.store.stats()

    def start(self) -> None:
        """Start background work in this process, and continue the work of dead processes.

        With the servers in the README this happens when they begin to serve. With another server it happens
        with the first request or health check, or with this call, in each process that serves. A second call
        has no effect.

        Raises:
            RuntimeError: The blueprint is not registered on an app.
        """
        if not self._attached:
            raise RuntimeError("broker.start is called too early: register the blueprint on an app first")
        if self._runtime is not None:
            self._runtime.ensure_started()

    def close(self) -> None:
        """Stop background work and close the connections of the store.

        A server process need not call this: it happens when the process exits. The next request starts
        background work and connections again.
        """
        if self._runtime is not None:
            self._runtime.stop()
            self._runtime.store.close()

    def _start(self, app: Flask) -> None:
        if self._runtime is not None:
            self._runtime.attach(app)
        if self._attached:
            return
        handlers = self.handlers
        faults = [
            *signature_faults(handlers, has_store=self._runtime is not None),
            *self._pipeline.start(handlers),
        ]
        if faults:
            raise SetupError(faults)
        if self._runtime is not None:
            from .admin.commands import is_finding_command

            if not is_finding_command():
                self._runtime.store.open()
        for group in self._groups:
            group._attached = True


# Internal accessors for the layers above this module, `observe` and `testing`. Not public API.


def runtime_of(broker: Broker) -> Runtime | None:
    """Return the background runtime of a broker; None for a broker without a store."""
    return broker._runtime


def auth_of(broker: Broker) -> Authenticator:
    """Return the authenticator of a broker."""
    return broker._auth


def last_catalog_of(broker: Broker) -> Catalog | None:
    """Return the catalog of a broker without a call of its catalog function.

    Returns:
        The catalog, or what the catalog function returned last; None before the first request.
    """
    return broker._pipeline.last_catalog
