"""A broker written with openbrokerapi, as correct as that library allows."""

from __future__ import annotations

import logging
from threading import Lock
from typing import Any
from uuid import uuid4

import jsonschema_rs
import openbrokerapi  # type: ignore  # it has no types, and is not there when only the linters run
from flask import Flask
from openbrokerapi import errors
from openbrokerapi.service_broker import (  # type: ignore
    Binding,
    BindState,
    DeprovisionServiceSpec,
    GetBindingSpec,
    GetInstanceDetailsSpec,
    LastOperation,
    OperationState,
    ProvisionedServiceSpec,
    ProvisionState,
    Service,
    ServiceBroker,
    UnbindSpec,
    UpdateServiceSpec,
)

SIZES = {
    "$schema": "http://json-schema.org/draft-07/schema#",
    "type": "object",
    "properties": {"size": {"type": "integer", "minimum": 1}},
}
TAKES_SIZES = jsonschema_rs.validator_for(SIZES)
POLLS = 3
"""The number of polls until an operation of the plan `slow` ends."""


class _Instance:
    def __init__(self, details: Any) -> None:
        self.service_id = details.service_id
        self.plan_id = details.plan_id
        self.parameters = details.parameters or {}
        self.order = (details.plan_id, self.parameters, details.organization_guid, details.space_guid)
        self.bindings: dict[str, tuple[Any, Any]] = {}
        self.operation: str | None = None
        self.change: Any = None
        self.polls = 0
        self.before: str | None = None

    def begin(self, change: Any) -> str:
        self.operation, self.change, self.polls = str(uuid4()), change, POLLS
        return self.operation


class Peer(ServiceBroker):  # type: ignore[misc]
    """A broker of databases: the plan `small` is synchronous, `slow` is asynchronous."""

    def __init__(self) -> None:
        self.instances: dict[str, _Instance] = {}
        self.lock = Lock()

    def catalog(self) -> Any:
        schemas = openbrokerapi.catalog.Schemas(
            service_instance={"create": {"parameters": SIZES}, "update": {"parameters": SIZES}},
            service_binding={"create": {"parameters": SIZES}},
        )
        fields = {"free": True, "bindable": True, "plan_updateable": False, "schemas": schemas}
        return Service(
            id="peers-id",
            name="peers",
            description="Databases of a peer",
            bindable=True,
            instances_retrievable=True,
            bindings_retrievable=True,
            plans=[
                openbrokerapi.ServicePlan(
                    id=f"{name}-id", name=name, description=f"The plan {name}", **fields
                )
                for name in ("small", "slow")
            ],
        )

    def _check(self, parameters: Any) -> None:
        if not TAKES_SIZES.is_valid(parameters or {}):
            raise errors.ErrInvalidParameters("the parameters do not fit the schema")

    def _get(self, instance_id: str) -> _Instance:
        try:
            return self.instances[instance_id]
        except KeyError:
            raise errors.ErrInstanceDoesNotExist from None

    def provision(self, instance_id: str, details: Any, async_allowed: bool, **more: Any) -> Any:
        self._check(details.parameters)
        with self.lock:
            instance, slow = _Instance(details), details.plan_id == "slow-id"
            known = self.instances.get(instance_id)
            if known is not None and known.order != instance.order:
                raise errors.ErrInstanceAlreadyExists
            if (slow if known is None else known.operation) and not async_allowed:
                raise errors.ErrAsyncRequired
            if known is not None:
                if known.operation:
                    return ProvisionedServiceSpec(ProvisionState.IS_ASYNC, operation=known.operation)
                return ProvisionedServiceSpec(ProvisionState.IDENTICAL_ALREADY_EXISTS)
            self.instances[instance_id] = instance
            if slow:
                return ProvisionedServiceSpec(ProvisionState.IS_ASYNC, operation=instance.begin("create"))
            return ProvisionedServiceSpec()

    def update(self, instance_id: str, details: Any, async_allowed: bool, **more: Any) -> Any:
        self._check(details.parameters)
        with self.lock:
            instance = self.instances.get(instance_id)
            if instance is None:  # openbrokerapi has no better exception for an update.
                raise errors.ErrBadRequest("there is no such instance")
            if details.plan_id not in (None, instance.plan_id):
                raise errors.ErrPlanChangeNotSupported
            after = {**instance.parameters, **(details.parameters or {})}
            if instance.operation:
                if instance.change != after or not async_allowed:
                    raise errors.ErrConcurrentInstanceAccess
                return UpdateServiceSpec(is_async=True, operation=instance.operation)
            if instance.plan_id != "slow-id" or after == instance.parameters:
                instance.parameters = after
                return UpdateServiceSpec(is_async=False)
            if not async_allowed:
                raise errors.ErrAsyncRequired
            return UpdateServiceSpec(is_async=True, operation=instance.begin(after))

    def deprovision(self, instance_id: str, details: Any, async_allowed: bool, **more: Any) -> Any:
        with self.lock:
            instance = self._get(instance_id)
            if instance.plan_id == "slow-id":
                if not async_allowed:
                    raise errors.ErrAsyncRequired
                if instance.change != "delete":
                    instance.begin("delete")
                return DeprovisionServiceSpec(is_async=True, operation=instance.operation)
            del self.instances[instance_id]
            return DeprovisionServiceSpec(is_async=False)

    def get_instance(self, instance_id: str, **more: Any) -> Any:
        with self.lock:
            instance = self._get(instance_id)
            if instance.change == "create":
                raise errors.ErrInstanceDoesNotExist
            if instance.change not in (None, "delete"):
                raise errors.ErrConcurrentInstanceAccess
            return GetInstanceDetailsSpec(
                instance.service_id, instance.plan_id, parameters=instance.parameters
            )

    def last_operation(self, instance_id: str, operation_data: str | None, **more: Any) -> Any:
        with self.lock:
            instance = self._get(instance_id)
            if operation_data not in (None, instance.operation, instance.before):
                raise errors.ErrBadRequest("there is no such operation")
            if instance.operation is None:
                return LastOperation(OperationState.SUCCEEDED)
            instance.polls -= 1
            if instance.polls:
                return LastOperation(OperationState.IN_PROGRESS)
            if instance.change == "delete":
                del self.instances[instance_id]
            elif instance.change != "create":
                instance.parameters = instance.change
            instance.before, instance.operation, instance.change = instance.operation, None, None
            return LastOperation(OperationState.SUCCEEDED)

    def bind(self, instance_id: str, binding_id: str, details: Any, async_allowed: bool, **more: Any) -> Any:
        if not TAKES_SIZES.is_valid(
            details.parameters or {}
        ):  # A bind handler cannot raise ErrInvalidParameters.
            raise errors.ErrBadRequest("the parameters do not fit the schema")
        with self.lock:
            instance = self.instances.get(instance_id)
            if instance is None:  # Nor can it raise ErrInstanceDoesNotExist.
                raise errors.ErrBadRequest("there is no such instance")
            if instance.operation:
                raise errors.ErrConcurrentInstanceAccess
            order = (details.app_guid, details.parameters or {})
            credentials = {"uri": f"db://{binding_id}"}
            known = instance.bindings.setdefault(binding_id, (order, credentials))
            if known[0] != order:
                raise errors.ErrBindingAlreadyExists
            again = known[0] is not order
            state = BindState.IDENTICAL_ALREADY_EXISTS if again else BindState.SUCCESSFUL_BOUND
            return Binding(state, credentials=credentials)

    def get_binding(self, instance_id: str, binding_id: str, **more: Any) -> Any:
        with self.lock:
            instance = self.instances.get(instance_id)
            if instance is None or binding_id not in instance.bindings:
                raise errors.ErrBindingDoesNotExist
            (_, parameters), credentials = instance.bindings[binding_id]
            return GetBindingSpec(credentials=credentials, parameters=parameters)

    def unbind(
        self, instance_id: str, binding_id: str, details: Any, async_allowed: bool, **more: Any
    ) -> Any:
        with self.lock:
            instance = self.instances.get(instance_id)
            if instance is None or instance.bindings.pop(binding_id, None) is None:
                raise errors.ErrBindingDoesNotExist
            return UnbindSpec(is_async=False)

    def last_binding_operation(self, instance_id: str, binding_id: str, **more: Any) -> Any:
        self.get_binding(instance_id, binding_id)
        return LastOperation(OperationState.SUCCEEDED)


def make_app(broker: Peer) -> Flask:
    """Serve the broker without its log."""
    silent = logging.getLogger("openbrokerapi")
    silent.setLevel(logging.CRITICAL)
    silent.propagate = False
    app = Flask("peer")
    credentials = openbrokerapi.api.BrokerCredentials("platform", "s3cret")
    app.register_blueprint(openbrokerapi.api.get_blueprint(broker, credentials, silent))
    return app
