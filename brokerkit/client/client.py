"""A client for service brokers: :class:`BrokerClient` sends the requests of a platform.

It takes and returns the structs that handlers use::

    client = BrokerClient("http://127.0.0.1:8080", username="platform", password="s3cret")
    offering = client.catalog().services[0]
    plan = offering.plans[0]
    response = client.provision("i1", offering, plan)
    if isinstance(response, Accepted):
        client.wait("i1", offering=offering, plan=plan, operation=response.operation)

Needs the package requests (extra ``check``).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from os import PathLike
from typing import Any, TypeVar

from msgspec import Struct

from ..catalog.models import (
    Catalog,
    CatalogError,
    MaintenanceInfo,
    ServiceOffering,
    ServicePlan,
    suppress_warnings,
)
from ..resources import BindResource
from ..results import (
    Accepted,
    Binding,
    Deprovisioned,
    InstanceDetails,
    LastOperation,
    Provisioned,
    Unbound,
    Updated,
)
from . import endpoints
from .endpoints import APIRequest
from .errors import (
    WORDS_OF_422,
    BrokerMistake,
    BrokerRefused,
    BrokerUnreachable,
    ClientError,
    Mitigation,
    OperationFailed,
    PollingTimeout,
)
from .exchange import Exchange
from .orphan_mitigation import leaves_an_orphan
from .platforms import Platform
from .session import PATIENCE, POLL_EVERY, Session
from .transport import Login, Transport

__all__ = [
    "MOST_POLLING",
    "PATIENCE",
    "POLL_EVERY",
    "WORDS_OF_422",
    "BrokerClient",
    "BrokerMistake",
    "BrokerRefused",
    "BrokerUnreachable",
    "ClientError",
    "Mitigation",
    "OperationFailed",
    "PollingTimeout",
    "leaves_an_orphan",
]

MOST_POLLING = 7 * 24 * 3600.0
"""The default polling timeout in seconds, for a plan without a `maximum_polling_duration`."""

_R = TypeVar("_R", bound=Struct)


class BrokerClient:
    """A client that calls a service broker as a platform does.

    Each response is validated as a platform validates it. Methods raise :class:`BrokerRefused` for an error
    response, :class:`BrokerMistake` for a response that the API does not allow, and
    :class:`BrokerUnreachable` if there is no response.

    A failed provision or bind may leave an orphaned resource (R-ERR-4). The client then deletes the resource
    before it raises; the error's `mitigation` reports the result.

    Methods take an offering or its id. With the offering, they also validate a binding's fields against its
    `requires`.

    The client is thread-safe.

    Args:
        url: The broker's URL, without ``/v2``.
        username: The username for basic authentication.
        password: The password for basic authentication.
        token: A bearer token, in place of username and password.
        platform: The platform to act as. Defaults to a platform without a name.
        timeout: The time limit of a request in seconds. Defaults to 60.
        mitigate_for: The time limit in seconds to delete an orphaned resource. 0 leaves it. Defaults to 60.
        verify: Whether to check the server's certificate, or the path of a file with trusted certificates.
            Defaults to True.
        observe: Called with each :class:`~brokerkit.client.Exchange`. Optional.

    Raises:
        ValueError: The URL is invalid, or the login is incomplete.
    """

    def __init__(
        self,
        url: str,
        *,
        username: str | None = None,
        password: str | None = None,
        token: str | None = None,
        platform: Platform | None = None,
        timeout: float = 60.0,
        mitigate_for: float = 60.0,
        verify: bool | str | PathLike[str] = True,
        observe: Callable[[Exchange], None] | None = None,
    ) -> None:
        login = Login(username, password, token)
        self.platform = platform or Platform()
        self._session = Session(
            Transport(url, login, timeout=timeout, verify=verify),
            self.platform,
            mitigate_for=mitigate_for,
            observe=observe,
        )

    @property
    def url(self) -> str:
        """The broker's URL, without ``/v2``."""
        return self._session.transport.url

    def catalog(self) -> Catalog:
        """Fetch the catalog (R-CAT), with the defaults of an offering applied to its plans.

        :attr:`~brokerkit.Catalog.warnings` lists faults that only Cloud Foundry rejects, and bad practice.

        Returns:
            The catalog.

        Raises:
            BrokerMistake: The catalog is invalid.
            ClientError: The request failed.
        """
        exchange = self._session.catalog()
        try:
            with suppress_warnings():
                return Catalog.from_dict(exchange.document or {})
        except CatalogError as error:
            raise BrokerMistake(error.faults, exchange) from None

    def provision(
        self,
        instance_id: str,
        offering: ServiceOffering | str,
        plan: ServicePlan | str,
        *,
        parameters: Mapping[str, Any] | None = None,
        context: Mapping[str, Any] | None = None,
        maintenance_info: MaintenanceInfo | None = None,
        accepts_incomplete: bool = True,
        **more: Any,
    ) -> Provisioned | Accepted:
        """Provision a service instance (R-PROV).

        Args:
            instance_id: A new, unique id for the instance.
            offering: The offering, or its id.
            plan: The plan, or its id.
            parameters: The parameters of the plan.
            context: Fields to add to the platform's context.
            maintenance_info: The version from the catalog.
            accepts_incomplete: Whether the broker may respond with 202. Defaults to True.
            more: Further fields of the body. `organization_guid` and `space_guid` default to the platform's.

        Returns:
            `Provisioned`, or `Accepted` for an operation to poll with :meth:`wait`.

        Raises:
            ClientError: The request failed.
        """
        request = endpoints.provision(
            instance_id,
            can_poll=accepts_incomplete,
            service_id=_id(offering),
            plan_id=_id(plan),
            context=self._context({**self.platform.instance_context, **(context or {})}),
            parameters=parameters,
            maintenance_info=maintenance_info,
            **{
                "organization_guid": self.platform.organization_guid,
                "space_guid": self.platform.space_guid,
                **more,
            },
        )
        undo = endpoints.delete(
            instance_id, None, service_id=_id(offering), plan_id=_id(plan), can_poll=accepts_incomplete
        )
        result = self._session.create(self._with_nulls(request), undo, offering)
        return result if isinstance(result, Accepted) else _as(result, Provisioned)

    def update(
        self,
        instance_id: str,
        offering: ServiceOffering | str,
        *,
        plan: ServicePlan | str | None = None,
        parameters: Mapping[str, Any] | None = None,
        context: Mapping[str, Any] | None = None,
        previous_values: Mapping[str, Any] | None = None,
        maintenance_info: MaintenanceInfo | None = None,
        accepts_incomplete: bool = True,
        **more: Any,
    ) -> Updated | Accepted:
        """Update a service instance (R-UPD).

        Args:
            instance_id: The id of the instance.
            offering: The offering, or its id.
            plan: The new plan, or its id. Defaults to the current plan.
            parameters: The parameters to change.
            context: Fields to add to the platform's context. Defaults to a request without a context.
            previous_values: The values before the update: `plan_id` and others.
            maintenance_info: The version to upgrade to.
            accepts_incomplete: Whether the broker may respond with 202. Defaults to True.
            more: Further fields of the body.

        Returns:
            `Updated`, or `Accepted` for an operation to poll with :meth:`wait`.

        Raises:
            ClientError: The request failed.
        """
        request = endpoints.update(
            instance_id,
            can_poll=accepts_incomplete,
            service_id=_id(offering),
            plan_id=None if plan is None else _id(plan),
            context=None if context is None else self._context(context),
            parameters=parameters,
            previous_values=previous_values,
            maintenance_info=maintenance_info,
            **more,
        )
        result = self._session.request(self._with_nulls(request))
        return result if isinstance(result, Accepted) else _as(result, Updated)

    def deprovision(
        self,
        instance_id: str,
        offering: ServiceOffering | str,
        plan: ServicePlan | str,
        *,
        accepts_incomplete: bool = True,
    ) -> Deprovisioned | Accepted:
        """Delete a service instance (R-DEL). The response 410, for an instance that is gone, is a success.

        Args:
            instance_id: The id of the instance.
            offering: The offering, or its id.
            plan: The plan, or its id.
            accepts_incomplete: Whether the broker may respond with 202. Defaults to True.

        Returns:
            `Deprovisioned`, or `Accepted` for an operation to poll with :meth:`wait` and ``deleting=True``.

        Raises:
            ClientError: The request failed.
        """
        result = self._session.request(
            endpoints.delete(
                instance_id, None, service_id=_id(offering), plan_id=_id(plan), can_poll=accepts_incomplete
            )
        )
        return result if isinstance(result, Accepted) else _as(result, Deprovisioned)

    def bind(
        self,
        instance_id: str,
        binding_id: str,
        offering: ServiceOffering | str,
        plan: ServicePlan | str,
        *,
        parameters: Mapping[str, Any] | None = None,
        context: Mapping[str, Any] | None = None,
        app_guid: str | None = None,
        bind_resource: BindResource | None = None,
        predecessor: str | None = None,
        accepts_incomplete: bool = True,
        **more: Any,
    ) -> Binding | Accepted:
        """Create a service binding (R-BIND).

        Args:
            instance_id: The id of the instance.
            binding_id: A new, unique id for the binding.
            offering: The offering, or its id.
            plan: The plan, or its id.
            parameters: The parameters of the plan.
            context: Fields to add to the platform's context.
            app_guid: The id of the application to bind; also sent in `bind_resource`.
            bind_resource: The resource to bind the instance to.
            predecessor: The id of the binding that the new one replaces (R-BIND-6).
            accepts_incomplete: Whether the broker may respond with 202. Defaults to True.
            more: Further fields of the body.

        Returns:
            `Binding`, or `Accepted` for an operation to poll with :meth:`wait` before :meth:`get_binding`.

        Raises:
            ClientError: The request failed.
        """
        resource = _bind_resource_fields(bind_resource)
        if app_guid is not None:
            resource = {"app_guid": app_guid, **resource}
        request = endpoints.bind(
            instance_id,
            binding_id,
            can_poll=accepts_incomplete,
            service_id=_id(offering),
            plan_id=_id(plan),
            context=self._context(context or {}),
            app_guid=app_guid,
            bind_resource=resource or None,
            parameters=parameters,
            predecessor_binding_id=predecessor,
            **more,
        )
        undo = endpoints.delete(
            instance_id, binding_id, service_id=_id(offering), plan_id=_id(plan), can_poll=accepts_incomplete
        )
        result = self._session.create(self._with_nulls(request), undo, offering)
        return result if isinstance(result, Accepted) else _as(result, Binding)

    def unbind(
        self,
        instance_id: str,
        binding_id: str,
        offering: ServiceOffering | str,
        plan: ServicePlan | str,
        *,
        accepts_incomplete: bool = True,
    ) -> Unbound | Accepted:
        """Delete a service binding (R-UNB). The response 410, for a binding that is gone, is a success.

        Args:
            instance_id: The id of the instance.
            binding_id: The id of the binding.
            offering: The offering, or its id.
            plan: The plan, or its id.
            accepts_incomplete: Whether the broker may respond with 202. Defaults to True.

        Returns:
            `Unbound`, or `Accepted` for an operation to poll with :meth:`wait` and ``deleting=True``.

        Raises:
            ClientError: The request failed.
        """
        result = self._session.request(
            endpoints.delete(
                instance_id,
                binding_id,
                service_id=_id(offering),
                plan_id=_id(plan),
                can_poll=accepts_incomplete,
            )
        )
        return result if isinstance(result, Accepted) else _as(result, Unbound)

    def get_instance(
        self,
        instance_id: str,
        *,
        offering: ServiceOffering | str | None = None,
        plan: ServicePlan | str | None = None,
    ) -> InstanceDetails:
        """Fetch a service instance (R-GETI).

        Args:
            instance_id: The id of the instance.
            offering: The offering, or its id, as a hint. Optional.
            plan: The plan, or its id, as a hint. Optional.

        Returns:
            The details of the instance.

        Raises:
            ClientError: The request failed.
        """
        request = endpoints.fetch(instance_id, None, service_id=_hint(offering), plan_id=_hint(plan))
        return _as(self._session.request(request), InstanceDetails)

    def get_binding(
        self,
        instance_id: str,
        binding_id: str,
        *,
        offering: ServiceOffering | str | None = None,
        plan: ServicePlan | str | None = None,
    ) -> Binding:
        """Fetch a service binding (R-GETB).

        Args:
            instance_id: The id of the instance.
            binding_id: The id of the binding.
            offering: The offering, or its id, as a hint. Optional.
            plan: The plan, or its id, as a hint. Optional.

        Returns:
            The binding with its credentials.

        Raises:
            ClientError: The request failed.
        """
        request = endpoints.fetch(instance_id, binding_id, service_id=_hint(offering), plan_id=_hint(plan))
        return _as(self._session.request(request, offering), Binding)

    def last_operation(
        self,
        instance_id: str,
        *,
        operation: str | None = None,
        offering: ServiceOffering | str | None = None,
        plan: ServicePlan | str | None = None,
    ) -> LastOperation:
        """Poll an operation on a service instance once (R-LAST).

        Args:
            instance_id: The id of the instance.
            operation: The `operation` of `Accepted`. Optional.
            offering: The offering, or its id. Optional.
            plan: The plan, or its id; during an update, the plan before it (R-UPD-6). Optional.

        Returns:
            The state of the operation.

        Raises:
            ClientError: The request failed.
        """
        return self._poll(instance_id, None, operation, offering, plan)

    def last_binding_operation(
        self,
        instance_id: str,
        binding_id: str,
        *,
        operation: str | None = None,
        offering: ServiceOffering | str | None = None,
        plan: ServicePlan | str | None = None,
    ) -> LastOperation:
        """Poll an operation on a service binding once (R-LAST).

        Args:
            instance_id: The id of the instance.
            binding_id: The id of the binding.
            operation: The `operation` of `Accepted`. Optional.
            offering: The offering, or its id. Optional.
            plan: The plan, or its id. Optional.

        Returns:
            The state of the operation.

        Raises:
            ClientError: The request failed.
        """
        return self._poll(instance_id, binding_id, operation, offering, plan)

    def wait(
        self,
        instance_id: str,
        binding_id: str | None = None,
        *,
        operation: str | None = None,
        offering: ServiceOffering | str | None = None,
        plan: ServicePlan | str | None = None,
        deleting: bool = False,
        timeout: float | None = None,
        patience: float = PATIENCE,
        progress: Callable[[LastOperation], None] | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> LastOperation:
        """Poll until an operation has finished (R-LAST).

        Args:
            instance_id: The id of the instance.
            binding_id: The id of the binding, for an operation on a binding.
            operation: The `operation` of `Accepted`. Optional.
            offering: The offering, or its id. Optional.
            plan: The plan, or its id. Optional.
            deleting: Whether the operation is a deletion; 410 then means success. Defaults to False.
            timeout: The time limit in seconds. Defaults to the plan's `maximum_polling_duration`, or a week.
            patience: The seconds that consecutive polls may go without a response, or with a 5xx. Defaults to
                60, which allows for a restart of the broker.
            progress: Called with the state after each poll. Optional.
            sleep: Waits between polls, for the broker's ``Retry-After`` in seconds, or 1. Defaults to
                :func:`time.sleep`.

        Returns:
            The final state of the operation.

        Raises:
            OperationFailed: The operation failed.
            PollingTimeout: The operation was still in progress at the time limit.
            ClientError: The broker rejected a poll, or polls failed for longer than `patience`.
        """
        if timeout is None:
            longest = plan.maximum_polling_duration if isinstance(plan, ServicePlan) else None
            timeout = MOST_POLLING if longest is None else float(longest)
        request = endpoints.poll(
            instance_id, binding_id, operation=operation, service_id=_hint(offering), plan_id=_hint(plan)
        )
        return self._session.wait(
            request, deleting=deleting, timeout=timeout, patience=patience, progress=progress, sleep=sleep
        )

    def _poll(
        self,
        instance_id: str,
        binding_id: str | None,
        operation: str | None,
        offering: ServiceOffering | str | None,
        plan: ServicePlan | str | None,
    ) -> LastOperation:
        request = endpoints.poll(
            instance_id, binding_id, operation=operation, service_id=_hint(offering), plan_id=_hint(plan)
        )
        return self._session.poll(request)[0]

    def _context(self, more: Mapping[str, Any]) -> dict[str, Any] | None:
        return {**self.platform.full_context, **more} or None

    def _with_nulls(self, request: APIRequest) -> APIRequest:
        assert isinstance(request.body, Mapping), "a request with optional fields has a JSON body"
        return request.with_body(**{name: None for name in self.platform.nulls if name not in request.body})


def _as(result: Struct, kind: type[_R]) -> _R:
    assert isinstance(result, kind), "the table of responses maps each operation to its result type"
    return result


def _id(item: ServiceOffering | ServicePlan | str) -> str:
    return item if isinstance(item, str) else item.id


def _hint(item: ServiceOffering | ServicePlan | str | None) -> str | None:
    return None if item is None else _id(item)


def _bind_resource_fields(resource: BindResource | None) -> dict[str, Any]:
    if resource is None:
        return {}
    fields = ((name, getattr(resource, name)) for name in resource.__struct_fields__)
    return {name: value for name, value in fields if value is not None}
