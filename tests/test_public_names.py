"""Tests of the public names: the packages that export them, and the module that each exception prints."""

from __future__ import annotations

import inspect
import pickle
from importlib import import_module
from typing import Any

import msgspec
import pytest

import brokerkit

PUBLIC_NAMES = {
    "brokerkit": """
        Accepted AsyncRequired Authenticator BasicAuth BearerAuth BindRequest BindResource Binding
        BindingAlreadyExists BindingDoesNotExist BindingMetadata BindingRequest BindingSchemas Broker
        BrokerError Catalog CatalogError CatalogWarning ConcurrencyError DashboardClient DeprovisionRequest
        Deprovisioned Endpoint Executor GetBindingRequest GetInstanceRequest HandlerGroup
        InstanceAlreadyExists InstanceDetails InstanceDoesNotExist InstanceLimitMet InstanceMetadata
        InstanceRequest InstanceSchemas InvalidParameters LastBindingOperationRequest LastOperation
        LastOperationRequest MaintenanceInfo MaintenanceInfoConflict NoAuth Operation OriginatingIdentity
        PlanChangeNotSupported PreviousValues ProvisionRequest Provisioned QuotaExceeded RequestHeaders
        RequiresApp Retry Schema Schemas ServiceBinding ServiceInstance ServiceOffering ServicePlan
        SetupError StoreError ThreadExecutor UnbindRequest Unbound UpdateRequest Updated VolumeDevice
        VolumeMount __version__ signals
    """,
    "brokerkit.signals": """
        AttemptEnd attempt_finished attempt_started audited authentication_failed bound deprovisioned
        operation_failed operation_progressed operation_started provisioned request_finished request_started
        send unbound updated
    """,
    "brokerkit.celery": "CeleryExecutor",
    "brokerkit.client": """
        BrokerClient BrokerMistake BrokerRefused BrokerUnreachable ClientError Exchange MOST_POLLING
        Mitigation OperationFailed PATIENCE PLATFORMS POLL_EVERY Platform PollingTimeout WORDS_OF_422
        cloudfoundry korifi kubernetes leaves_an_orphan
    """,
    "brokerkit.checker": "Options Report check",
    "brokerkit.store": "Store",
    "brokerkit.testing": """
        CheckBroker Login NothingDue Platform Step StepByStep StillRunning cloudfoundry korifi kubernetes
        serve step_by_step
    """,
    "brokerkit.observe.logs": "ContextFilter JSONFormatter json_handler log_lifecycle",
    "brokerkit.observe.prometheus": "measure metrics_blueprint",
    "brokerkit.observe.opentelemetry": "trace_lifecycle",
}
"""The names that users import from each package. Removing one breaks users."""

NAMES = [(package, name) for package, names in PUBLIC_NAMES.items() for name in names.split()]


def public(package: str, name: str) -> Any:
    return getattr(import_module(package), name)


def is_class(package: str, name: str) -> bool:
    """Tell classes by their spelling, so that a missing one is reported by its test."""
    return name[0].isupper() and not name.isupper() and (package, name) != ("brokerkit.testing", "Login")


CLASSES = [(package, name) for package, name in NAMES if is_class(package, name)]
EXCEPTIONS = [
    (package, name)
    for package, name in CLASSES
    if issubclass(getattr(import_module(package), name, object), Exception)
]


@pytest.mark.parametrize(("package", "name"), NAMES)
def test_public_name_is_importable(package: str, name: str) -> None:
    value = public(package, name)
    assert inspect.ismodule(value) == ((package, name) == ("brokerkit", "signals"))


@pytest.mark.parametrize("package", PUBLIC_NAMES)
def test_all_has_the_public_names(package: str) -> None:
    names = set(PUBLIC_NAMES[package].split()) - {"__version__"}
    declared = getattr(import_module(package), "__all__", names)
    assert len(set(declared)) == len(declared)
    assert names <= set(declared)


def test_classes_print_importable_names() -> None:
    for package, name in CLASSES:
        cls = public(package, name)
        assert inspect.isclass(cls)
        assert getattr(import_module(cls.__module__), cls.__name__) is cls


@pytest.mark.parametrize(("package", "name"), EXCEPTIONS)
def test_exception_prints_its_public_home(package: str, name: str) -> None:
    """A traceback names a module that users import from.

    This holds for exceptions only: msgspec resolves the annotations of a struct in the module that
    `__module__` names, so structs and the classes beside them keep their own module.
    """
    cls = public(package, name)
    if package == "brokerkit":  # its exceptions may live in any public module
        assert not any(part.startswith("_") for part in cls.__module__.split("."))
    else:
        assert cls.__module__ == package


@pytest.mark.parametrize(("package", "name"), CLASSES)
def test_class_can_be_pickled(package: str, name: str) -> None:
    cls = public(package, name)
    assert pickle.loads(pickle.dumps(cls)) is cls


@pytest.mark.parametrize("package", PUBLIC_NAMES)
def test_struct_annotations_resolve(package: str) -> None:
    """Msgspec resolves a struct's annotations in the module that `__module__` names."""
    for _, name in (known for known in CLASSES if known[0] == package):
        cls = public(package, name)
        if issubclass(cls, msgspec.Struct):
            assert isinstance(msgspec.inspect.type_info(cls), msgspec.inspect.StructType)


def test_client_structs_can_be_pickled() -> None:
    client = import_module("brokerkit.client")
    exchange = client.Exchange(method="GET", url="http://broker/v2/catalog", headers={}, status=200)
    for value in (exchange, client.cloudfoundry(), client.Mitigation(gone=True, deletes=1, last=exchange)):
        assert pickle.loads(pickle.dumps(value)) == value


def test_broker_errors_can_be_pickled() -> None:
    root = [public(package, name) for package, name in CLASSES if package == "brokerkit"]
    classes = [cls for cls in root if issubclass(cls, brokerkit.BrokerError)]
    assert len(classes) > 10
    for cls in classes:
        error = cls()
        copy = pickle.loads(pickle.dumps(error))
        assert type(copy) is cls
        assert (copy.error, copy.description, copy.status) == (error.error, error.description, error.status)


def test_retry_can_be_pickled() -> None:
    retry = brokerkit.Retry(after=2.5, description="Copying")
    copy = pickle.loads(pickle.dumps(retry))
    assert (type(copy), copy.after, copy.description) == (brokerkit.Retry, 2.5, "Copying")
