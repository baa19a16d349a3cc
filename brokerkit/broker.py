"""`Broker`: what users hold."""

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
        catalog: What it offers; or a function that returns it, called in every request, which returns the
            same object for as long as nothing changed.
        auth: Who may call. There is no default; ``NoAuth()`` lets everyone.
        require_organization: Refuse a provision that names no organization and space (R-PROV). Switch it
            off for platforms that have none.
        minimum_api_version: The least version of the API that a platform must speak (R-REQ-1).
        max_body: How many bytes the body of a request may have.
        store: Where to remember instances, bindings and operations: an SQLAlchemy URL, such as
            ``"sqlite:///broker.db"`` or ``"postgresql+psycopg://user:password@host/database"``; or a
            :class:`~brokerkit.store.store.Store`. Needs the extra `sql`, and `postgres` for PostgreSQL.
            Without one, the handlers must remember.
        encryption_keys: What the store is sealed with: Fernet keys, the newest first. Required on
            PostgreSQL. On SQLite, where none are given, one is made in a file beside the database.
        executor: Who runs handlers with ``background=True``; ``ThreadExecutor(workers=8)`` unless told, or a
            :class:`~brokerkit.celery.CeleryExecutor`. Each broker needs its own.

    Raises:
        TypeError: `catalog` or `auth` is no such thing, or `executor` or `encryption_keys` come without a
            store.
        ValueError: `minimum_api_version` or `max_body` makes no sense.
        StoreError: The store cannot be used as it is told.
        ModuleNotFoundError: What a store needs is not installed.
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
                f"Broker: the catalog is of the type {type(catalog).__name__}; give a Catalog, such as"
                ' Catalog.from_file("catalog.yml"), or a function that returns one'
            )
        check_authenticator(auth, "Broker")
        if not isinstance(max_body, int) or max_body < 1:
            raise ValueError(f"Broker(max_body={max_body!r}): give the number of bytes, at least 1")
        self._groups: list[HandlerGroup] = [self]
        self._auth = auth
        settings = Settings(auth, require_organization, parse_minimum_version(minimum_api_version), max_body)
        self._runtime: Runtime | None = None
        dispatch: Dispatch = StatelessDispatch(self)
        if store is not None:
            self._runtime, dispatch = self._set_up_store(store, encryption_keys, executor)
        elif encryption_keys is not None or executor is not None:
            raise TypeError("Broker: encryption_keys and executor are for a broker with a store; give store=")
        self._pipeline = Pipeline(self, catalog, settings, dispatch, has_store=self._runtime is not None)

    def _set_up_store(
        self,
        store: str | Store,
        encryption_keys: Sequence[str | bytes] | None,
        executor: Executor | None,
    ) -> tuple[Runtime, Dispatch]:
        """Load what a store needs, which a broker without one never does."""
        try:
            from .background.executors import ThreadExecutor
            from .background.runtime import Runtime
            from .server.stateful import StatefulDispatch
            from .store.store import Store
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError(
                f"Broker(store=…) needs {error.name}: pip install sqlalchemy alembic cryptography",
                name=error.name,
            ) from error
        if not isinstance(store, Store):
            store = Store(store, encryption_keys=encryption_keys)
        elif encryption_keys is not None:
            raise TypeError("Broker: give encryption_keys to the Store")
        if executor is not None and not all(
            callable(getattr(executor, name, None)) for name in ("start", "submit", "stop")
        ):
            raise TypeError(
                f"Broker: executor is of the type {type(executor).__name__}; give one with start, submit and"
                " stop, such as ThreadExecutor()"
            )
        running = Runtime(self, store, executor or ThreadExecutor(), lambda: self._pipeline.current_table())
        return running, StatefulDispatch(running)

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
        return BrokerBlueprint(self._pipeline, self._start, self._commands)

    @cached_property
    def health(self) -> Blueprint:
        """A blueprint that tells load balancers how the broker is, without authentication, under any prefix.

        ``GET /health`` is 200 if this process may be sent requests: the store can be reached, its tables have
        the right version, what runs in the background goes on, and the process is not about to end.
        Else it is 503. It answers within a second, also while the database hangs.

        ``GET /health/live`` is 503 only if the process cannot go on, and must be restarted.
        """
        return HealthBlueprint(self._ready, self._alive)

    def _ready(self) -> Health:
        if self._runtime is None:
            return Health(status=HealthStatus.OK)
        if self._attached:
            # A process may get nothing but this, and is to take up what others left all the same.
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
        """What it offers now."""
        return self._pipeline.current_catalog()

    def stats(self) -> StoreStats | None:
        """Count the instances, bindings and operations in progress that the store holds; None without one.

        All instances and bindings are read for it, which takes seconds where there are millions.

        Raises:
            StoreError: The store cannot be opened.
            StoreUnavailable: The database is away.
        """
        return None if self._runtime is None else self._runtime.store.stats()

    def close(self) -> None:
        """Stop what runs in the background, and close the store's connections.

        Serving processes need not: they do so when they end. The next request would begin anew.
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
            from .admin.commands import is_upgrade_command

            if not is_upgrade_command():
                self._runtime.store.open()
        for group in self._groups:
            group._attached = True


# Internal accessors: for the layers above this module, `observe` and `testing`. No public API.


def runtime_of(broker: Broker) -> Runtime | None:
    """Return the background runtime of a broker; None for a broker without a store."""
    return broker._runtime


def auth_of(broker: Broker) -> Authenticator:
    """Return the authenticator of a broker."""
    return broker._auth


def last_catalog_of(broker: Broker) -> Catalog | None:
    """Return the catalog of the latest request; None before the first request or registration.

    Unlike :attr:`Broker.catalog`, it does not call the catalog function of the broker.
    """
    return broker._pipeline.last_catalog
