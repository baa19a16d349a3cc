"""The broker of the benchmarks, written by hand with openbrokerapi and SQLAlchemy's ORM, as for production.

Each request is one transaction. Repeated requests get the responses that the API requires, and requests of
one instance never overlap. Unlike brokerkit's store, it encrypts nothing, has no operations in progress, and
cannot return 404 to a bind (openbrokerapi has no such error).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from wsgiref.types import WSGIApplication

import openbrokerapi  # type: ignore  # has no types, and is not installed for the linters
from sqlalchemy import JSON, Engine, ForeignKey, create_engine, event
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, sessionmaker

from .peer import make_app, services
from .traffic import CREDENTIALS, DASHBOARD


class _Base(DeclarativeBase):
    type_annotation_map = {dict[str, Any]: JSON}


class _Instance(_Base):
    __tablename__ = "instances"

    id: Mapped[str] = mapped_column(primary_key=True)
    service_id: Mapped[str]
    plan_id: Mapped[str]
    organization_guid: Mapped[str]
    space_guid: Mapped[str]
    context: Mapped[dict[str, Any]]
    parameters: Mapped[dict[str, Any]]

    @property
    def order(self) -> tuple[object, ...]:
        """Return the attributes that a repeated PUT must have."""
        return self.service_id, self.plan_id, self.organization_guid, self.space_guid, self.parameters

    @property
    def dashboard_url(self) -> str:
        return DASHBOARD + self.id


class _Binding(_Base):
    __tablename__ = "bindings"

    instance_id: Mapped[str] = mapped_column(ForeignKey(_Instance.id, ondelete="CASCADE"), primary_key=True)
    id: Mapped[str] = mapped_column(primary_key=True)
    service_id: Mapped[str]
    plan_id: Mapped[str]
    app_guid: Mapped[str | None]
    context: Mapped[dict[str, Any]]
    parameters: Mapped[dict[str, Any]]
    credentials: Mapped[dict[str, Any]]

    @property
    def order(self) -> tuple[object, ...]:
        """Return the attributes that a repeated PUT must have."""
        return self.service_id, self.plan_id, self.app_guid, self.parameters


class _StoredBroker:
    def __init__(self, engine: Engine) -> None:
        self._services = services()
        self._write = sessionmaker(engine)
        self._read = sessionmaker(engine.execution_options(reads=True))

    def catalog(self) -> Any:
        return self._services

    def provision(self, instance_id: str, details: Any, **more: object) -> Any:
        instance = _Instance(
            id=instance_id,
            service_id=details.service_id,
            plan_id=details.plan_id,
            organization_guid=details.organization_guid,
            space_guid=details.space_guid,
            context=details.context or {},
            parameters=details.parameters or {},
        )
        order, state = instance.order, openbrokerapi.ProvisionState.SUCCESSFUL_CREATED
        try:
            with self._write.begin() as session:
                session.add(instance)
                session.flush()  # Claims the id, or fails, before the handler runs.
                dashboard_url = instance.dashboard_url
        except IntegrityError:
            with self._read() as session:
                known = session.get(_Instance, instance_id)
                if known is None or known.order != order:
                    raise openbrokerapi.errors.ErrInstanceAlreadyExists from None
                dashboard_url = known.dashboard_url
            state = openbrokerapi.ProvisionState.IDENTICAL_ALREADY_EXISTS
        return openbrokerapi.ProvisionedServiceSpec(state=state, dashboard_url=dashboard_url)

    def get_instance(self, instance_id: str, **more: object) -> Any:
        with self._read() as session:
            instance = session.get(_Instance, instance_id)
            if instance is None:
                raise openbrokerapi.errors.ErrInstanceDoesNotExist
            return openbrokerapi.service_broker.GetInstanceDetailsSpec(
                instance.service_id, instance.plan_id, instance.dashboard_url, instance.parameters
            )

    def deprovision(self, instance_id: str, **more: object) -> Any:
        with self._write.begin() as session:
            instance = session.get(_Instance, instance_id, with_for_update=True)
            if instance is None:
                raise openbrokerapi.errors.ErrInstanceDoesNotExist
            session.delete(instance)
        return openbrokerapi.DeprovisionServiceSpec(is_async=False)

    def bind(self, instance_id: str, binding_id: str, details: Any, **more: object) -> Any:
        app_guid = details.bind_resource.app_guid if details.bind_resource else details.app_guid
        with self._write.begin() as session:
            if session.get(_Instance, instance_id, with_for_update=True) is None:
                raise openbrokerapi.errors.ErrBadRequest("There is no such instance.")
            binding = _Binding(
                instance_id=instance_id,
                id=binding_id,
                service_id=details.service_id,
                plan_id=details.plan_id,
                app_guid=app_guid,
                context=details.context or {},
                parameters=details.parameters or {},
            )
            known = session.get(_Binding, (instance_id, binding_id))
            if known is None:
                binding.credentials = CREDENTIALS
                session.add(binding)
                state = openbrokerapi.BindState.SUCCESSFUL_BOUND
            elif known.order == binding.order:
                binding = known
                state = openbrokerapi.BindState.IDENTICAL_ALREADY_EXISTS
            else:
                raise openbrokerapi.errors.ErrBindingAlreadyExists
            return openbrokerapi.Binding(state=state, credentials=binding.credentials)

    def get_binding(self, instance_id: str, binding_id: str, **more: object) -> Any:
        with self._read() as session:
            binding = session.get(_Binding, (instance_id, binding_id))
            if binding is None:
                raise openbrokerapi.errors.ErrBindingDoesNotExist
            return openbrokerapi.service_broker.GetBindingSpec(
                credentials=binding.credentials, parameters=binding.parameters
            )

    def unbind(self, instance_id: str, binding_id: str, **more: object) -> Any:
        with self._write.begin() as session:
            binding = session.get(_Binding, (instance_id, binding_id), with_for_update=True)
            if binding is None:
                raise openbrokerapi.errors.ErrBindingDoesNotExist
            session.delete(binding)
        return openbrokerapi.UnbindSpec(is_async=False)


@contextmanager
def peer_app(url: str) -> Iterator[WSGIApplication]:
    """Return an app with openbrokerapi on an empty database, and create the tables."""
    engine = create_engine(url)
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
    _Base.metadata.create_all(engine)
    try:
        yield make_app(_StoredBroker(engine)).wsgi_app
    finally:
        engine.dispose()


def _prepare_sqlite(connection: Any, record: object) -> None:
    connection.isolation_level = None  # otherwise sqlite3 begins the transaction too late
    for pragma in ("busy_timeout = 10000", "journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON"):
        connection.execute(f"PRAGMA {pragma}")


def _begin_sqlite(connection: Any) -> None:
    # A transaction that reads before it writes would fail instead of waiting for a concurrent writer.
    reads = connection.get_execution_options().get("reads", False)
    connection.exec_driver_sql("BEGIN" if reads else "BEGIN IMMEDIATE")
