"""Setup errors of brokers with a store or background handlers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from brokerkit import Binding, Broker, Catalog, HandlerGroup, SetupError
from brokerkit.background.executors import ThreadExecutor
from brokerkit.store.errors import StoreError
from brokerkit.store.store import Store

from ..support.broker import CREDENTIALS, PROVISION, make_app, make_offering
from ..support.stateful import CAN_POLL, KEY, Serve, poll_until_done

Register = Callable[[Broker], object]


def make_store(tmp_path: Path) -> Store:
    return Store(f"sqlite:///{tmp_path / 'broker.db'}", encryption_keys=[KEY])


def make_broker(**settings: Any) -> Broker:
    offering = settings.pop("offering", make_offering())
    broker = Broker(Catalog([offering]), auth=CREDENTIALS, **settings)
    for operation in ("deprovision", "unbind", "update"):
        getattr(broker, operation)(lambda request: None)
    return broker


def steps(request: Any) -> Iterator[str]:
    yield "One"


async def async_steps(request: Any) -> AsyncIterator[str]:
    yield "One"


def make(request: Any) -> None: ...


def bind(request: Any) -> Binding:
    return Binding(credentials={})


def faults_of(broker: Broker) -> str:
    with pytest.raises(SetupError) as raised:
        make_app(broker)
    return "\n".join(raised.value.faults)


def test_background_handler_requires_store() -> None:
    broker = make_broker()
    broker.provision(background=True)(make)
    broker.bind(bind)
    assert "background=True, which needs a store" in faults_of(broker)


def test_generator_handler_requires_background(tmp_path: Path) -> None:
    broker = make_broker(store=make_store(tmp_path))
    broker.provision(steps)  # type: ignore[type-var]
    broker.bind(bind)
    assert "is a generator, which can only run in the background" in faults_of(broker)


@pytest.mark.parametrize("background", [True, False])
def test_async_generator_handler_is_rejected(tmp_path: Path, background: bool) -> None:
    broker = make_broker(store=make_store(tmp_path))
    registrar: Any = broker.provision(background=True) if background else broker.provision
    registrar(async_steps)
    broker.bind(bind)
    assert "is an async generator" in faults_of(broker)


@pytest.mark.rule("R-BIND-1", "R-GETB")
def test_background_bind_requires_retrievable_bindings(tmp_path: Path) -> None:
    """Platforms fetch the credentials after the bind has finished."""
    offering = make_offering(bindings_retrievable=False)
    broker = make_broker(store=make_store(tmp_path), offering=offering)
    broker.provision(make)
    broker.bind(background=True)(bind)
    faults = faults_of(broker)
    assert "bindings_retrievable" in faults
    assert "'small'" in faults
    assert "'large'" in faults


def test_setup_error_lists_all_faults(tmp_path: Path) -> None:
    broker = make_broker(store=make_store(tmp_path), offering=make_offering(bindings_retrievable=False))
    broker.provision(steps)  # type: ignore[type-var]
    broker.bind(background=True)(bind)
    faults = faults_of(broker)
    assert "is a generator" in faults
    assert "bindings_retrievable" in faults


@pytest.mark.parametrize("operation", ["provision", "update", "deprovision", "bind", "unbind"])
def test_max_attempts_requires_background(operation: str) -> None:
    group = HandlerGroup()
    with pytest.raises(TypeError, match="background=True"):
        getattr(group, operation)(max_attempts=3)


@pytest.mark.parametrize("attempts", [0, -1, 1.5, "3"])
def test_max_attempts_must_be_positive_integer(attempts: Any) -> None:
    with pytest.raises(ValueError, match="max_attempts"):
        HandlerGroup().provision(background=True, max_attempts=attempts)


@pytest.mark.parametrize("operation", ["get_instance", "get_binding", "last_operation"])
def test_read_only_handlers_reject_background(operation: str) -> None:
    with pytest.raises(TypeError):
        getattr(HandlerGroup(), operation)(background=True)


@pytest.mark.parametrize(
    "setting",
    [{"encryption_keys": [KEY]}, {"executor": ThreadExecutor()}],
    ids=lambda setting: next(iter(setting)),
)
def test_encryption_keys_and_executor_require_store(setting: dict[str, Any]) -> None:
    with pytest.raises(TypeError, match="store"):
        make_broker(**setting)


def test_encryption_keys_and_store_instance_conflict(tmp_path: Path) -> None:
    """A `Store` has its own keys, so the broker refuses `encryption_keys`."""
    with pytest.raises(TypeError, match="encryption_keys"):
        make_broker(store=make_store(tmp_path), encryption_keys=[KEY])


@pytest.mark.parametrize("keys", [[], ["no key"], KEY, [KEY, "short"]], ids=str)
def test_invalid_encryption_keys_are_rejected(tmp_path: Path, keys: Any) -> None:
    with pytest.raises(StoreError, match="encryption_keys"):
        make_broker(store=f"sqlite:///{tmp_path / 'broker.db'}", encryption_keys=keys)


def test_postgresql_store_requires_encryption_keys() -> None:
    with pytest.raises(StoreError, match="encryption_keys"):
        make_broker(store="postgresql+psycopg://platform@/none")


@pytest.mark.parametrize(
    "url", ["no url", "mysql://host/db", "sqlite+aiosqlite:///broker.db", "postgresql+x://"]
)
def test_invalid_store_url_is_rejected(url: str) -> None:
    with pytest.raises(StoreError):
        make_broker(store=url, encryption_keys=[KEY])


@pytest.mark.parametrize("lease", [0, -1.0, float("nan")])
def test_lease_must_be_positive(tmp_path: Path, lease: float) -> None:
    with pytest.raises(StoreError, match="lease"):
        Store(f"sqlite:///{tmp_path / 'broker.db'}", lease=lease)


@pytest.mark.parametrize(("workers", "grace"), [(0, 1.0), (1.5, 1.0), (1, -1.0)])
def test_thread_executor_validates_workers_and_grace(workers: Any, grace: float) -> None:
    with pytest.raises(ValueError, match="ThreadExecutor"):
        ThreadExecutor(workers, grace=grace)


@pytest.mark.rule("R-PROV-1")
@pytest.mark.parametrize("background", [True, False])
def test_handler_group_supports_background_handlers(serve: Serve, background: bool) -> None:
    """Fetches and polls work without handlers of their own."""
    group = HandlerGroup(offering="db")
    registrar: Any = group.provision(plan="small", background=True) if background else group.provision
    registrar(make)
    broker = make_broker(store=Store(serve.url, encryption_keys=[KEY]))
    broker.provision(make)
    broker.bind(bind)
    broker.include(group)
    platform = serve.attach(broker)
    response = platform.put("/v2/service_instances/i1", PROVISION, query=CAN_POLL)
    assert response.status_code == (202 if background else 201)
    assert poll_until_done(platform, "/v2/service_instances/i1") == {"state": "succeeded"}
