"""The platform's side of the API: :class:`BrokerClient` orders from a service broker, as a platform does.

It speaks in the structs that handlers speak in::

    client = BrokerClient("http://127.0.0.1:8080", username="platform", password="s3cret")
    offering = client.catalog().services[0]
    done = client.provision("i1", offering, offering.plans[0])
    if isinstance(done, Accepted):
        client.wait("i1", offering=offering, plan=offering.plans[0], operation=done.operation)

Needs requests (extra `check`).
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
from . import endpoints as asking
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
    leaves_an_orphan,
)
from .exchange import Exchange
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
"""For how many seconds an operation is polled, where neither the plan nor the caller says."""

_R = TypeVar("_R", bound=Struct)


class BrokerClient:
    """Orders from a service broker, as a platform does.

    Every answer is read as a platform reads it. Methods raise :class:`BrokerRefused` where the broker
    refuses, :class:`BrokerMistake` where its answer is none of the API's, and
    :class:`BrokerUnreachable` where there is none. After a provision or bind that leaves in doubt what there
    is (R-ERR-4) they delete it before they raise; the error's `mitigation` says how that went.

    Where a method takes an offering or its id, the offering lets it check more: what a binding may have.

    It can be used by several threads.

    Args:
        url: Where the broker's ``/v2`` is.
        username: For basic authentication.
        password: For basic authentication.
        token: A bearer token instead.
        platform: Who asks.
        timeout: How many seconds an answer may take.
        mitigate_for: For how many seconds it tries to delete an orphan; 0 leaves it.
        verify: Check the server's certificate? Or the path of a file with those to trust.
        observe: Called with each :class:`~brokerkit.client.exchange.Exchange`.

    Raises:
        ValueError: The URL is none, or the login is half told.
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
        self._talk = Session(
            Transport(url, login, timeout=timeout, verify=verify),
            self.platform,
            mitigate_for=mitigate_for,
            observe=observe,
        )

    @property
    def url(self) -> str:
        """Where the broker's ``/v2`` is."""
        return self._talk.transport.url

    def catalog(self) -> Catalog:
        """What the broker offers (R-CAT), each plan with what is in effect for it.

        Its :attr:`~brokerkit.Catalog.warnings` have what only Cloud Foundry refuses, or is not recommended.
        """
        exchange = self._talk.catalog()
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
        """Order a service instance (R-PROV).

        Args:
            instance_id: An id for it, never used before.
            offering: The offering, or its id.
            plan: The plan, or its id.
            parameters: What the plan takes.
            context: What to say of the surroundings beside what the platform says of them.
            maintenance_info: The version that was read in the catalog.
            accepts_incomplete: May the broker answer 202?
            more: Further fields of the body, and `organization_guid` and `space_guid`, if they are not the
                platform's.

        Returns:
            `Accepted` if it has to be waited for (:meth:`wait`).
        """
        ask = asking.provision(
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
        undo = asking.delete(
            instance_id, None, service_id=_id(offering), plan_id=_id(plan), can_poll=accepts_incomplete
        )
        found = self._talk.create(self._with_nulls(ask), undo, offering)
        return found if isinstance(found, Accepted) else _as(found, Provisioned)

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
        """Change a service instance (R-UPD).

        Args:
            instance_id: Which.
            offering: The offering, or its id.
            plan: The plan to move to, or its id.
            parameters: Those to change.
            context: What to say of the surroundings; nothing unless told.
            previous_values: What it was: `plan_id` and more.
            maintenance_info: The version to move to.
            accepts_incomplete: May the broker answer 202?
            more: Further fields of the body.

        Returns:
            `Accepted` if it has to be waited for (:meth:`wait`).
        """
        ask = asking.update(
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
        found = self._talk.request(self._with_nulls(ask))
        return found if isinstance(found, Accepted) else _as(found, Updated)

    def deprovision(
        self,
        instance_id: str,
        offering: ServiceOffering | str,
        plan: ServicePlan | str,
        *,
        accepts_incomplete: bool = True,
    ) -> Deprovisioned | Accepted:
        """Delete a service instance (R-DEL). One that is not there is deleted: 410 is a success.

        Args:
            instance_id: Which.
            offering: The offering, or its id.
            plan: The plan, or its id.
            accepts_incomplete: May the broker answer 202?

        Returns:
            `Accepted` if it has to be waited for (:meth:`wait` with ``deleting=True``).
        """
        found = self._talk.request(
            asking.delete(
                instance_id, None, service_id=_id(offering), plan_id=_id(plan), can_poll=accepts_incomplete
            )
        )
        return found if isinstance(found, Accepted) else _as(found, Deprovisioned)

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
        """Make a service binding (R-BIND).

        Args:
            instance_id: Of what.
            binding_id: An id for it, never used before.
            offering: The offering, or its id.
            plan: The plan, or its id.
            parameters: What the plan takes.
            context: What to say of the surroundings beside what the platform says of them.
            app_guid: The application that it is for; also put into `bind_resource`.
            bind_resource: What the instance is bound to.
            predecessor: The id of the binding that it is to follow (R-BIND-6).
            accepts_incomplete: May the broker answer 202?
            more: Further fields of the body.

        Returns:
            `Accepted` if it has to be waited for (:meth:`wait`) and then fetched (:meth:`get_binding`).
        """
        resource = _told(bind_resource)
        if app_guid is not None:
            resource = {"app_guid": app_guid, **resource}
        ask = asking.bind(
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
        undo = asking.delete(
            instance_id, binding_id, service_id=_id(offering), plan_id=_id(plan), can_poll=accepts_incomplete
        )
        found = self._talk.create(self._with_nulls(ask), undo, offering)
        return found if isinstance(found, Accepted) else _as(found, Binding)

    def unbind(
        self,
        instance_id: str,
        binding_id: str,
        offering: ServiceOffering | str,
        plan: ServicePlan | str,
        *,
        accepts_incomplete: bool = True,
    ) -> Unbound | Accepted:
        """Delete a service binding (R-UNB); as :meth:`deprovision`."""
        found = self._talk.request(
            asking.delete(
                instance_id,
                binding_id,
                service_id=_id(offering),
                plan_id=_id(plan),
                can_poll=accepts_incomplete,
            )
        )
        return found if isinstance(found, Accepted) else _as(found, Unbound)

    def get_instance(
        self,
        instance_id: str,
        *,
        offering: ServiceOffering | str | None = None,
        plan: ServicePlan | str | None = None,
    ) -> InstanceDetails:
        """Fetch a service instance (R-GETI).

        Args:
            instance_id: Which.
            offering: The offering, or its id, as a hint.
            plan: The plan, or its id, as a hint.
        """
        ask = asking.fetch(instance_id, None, service_id=_hint(offering), plan_id=_hint(plan))
        return _as(self._talk.request(ask), InstanceDetails)

    def get_binding(
        self,
        instance_id: str,
        binding_id: str,
        *,
        offering: ServiceOffering | str | None = None,
        plan: ServicePlan | str | None = None,
    ) -> Binding:
        """Fetch a service binding (R-GETB); the hints as in :meth:`get_instance`."""
        ask = asking.fetch(instance_id, binding_id, service_id=_hint(offering), plan_id=_hint(plan))
        return _as(self._talk.request(ask, offering), Binding)

    def last_operation(
        self,
        instance_id: str,
        *,
        operation: str | None = None,
        offering: ServiceOffering | str | None = None,
        plan: ServicePlan | str | None = None,
    ) -> LastOperation:
        """Ask how an operation on a service instance goes (R-LAST).

        Args:
            instance_id: Of which instance.
            operation: The string that `Accepted` has.
            offering: The offering, or its id.
            plan: The plan, or its id; during an update the one before it (R-UPD-6).
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
        """Ask how an operation on a service binding goes; as :meth:`last_operation`."""
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
        """Poll until an operation is done.

        Args:
            instance_id: Of which instance.
            binding_id: Of which of its bindings, if it is one's.
            operation: The string that `Accepted` has.
            offering: The offering, or its id.
            plan: The plan, or its id; its `maximum_polling_duration` is the timeout unless told.
            deleting: Is it a delete? Then 410 means that it is done.
            timeout: After how many seconds to give up; a week unless told.
            patience: For how many seconds polls may have no answer, or a 5xx, one after the other; a
                broker may be restarted meanwhile.
            progress: Called with what each poll found; after one without an answer, with what says so.
            sleep: Waits between polls, for the seconds that the broker asks for, or one.

        Returns:
            How it succeeded.

        Raises:
            OperationFailed: It failed.
            PollingTimeout: It was in progress for too long.
            ClientError: Polls went wrong for too long, or one was refused.
        """
        if timeout is None:
            longest = plan.maximum_polling_duration if isinstance(plan, ServicePlan) else None
            timeout = MOST_POLLING if longest is None else float(longest)
        ask = asking.poll(
            instance_id, binding_id, operation=operation, service_id=_hint(offering), plan_id=_hint(plan)
        )
        return self._talk.wait(
            ask, deleting=deleting, timeout=timeout, patience=patience, progress=progress, sleep=sleep
        )

    def _poll(
        self,
        instance_id: str,
        binding_id: str | None,
        operation: str | None,
        offering: ServiceOffering | str | None,
        plan: ServicePlan | str | None,
    ) -> LastOperation:
        ask = asking.poll(
            instance_id, binding_id, operation=operation, service_id=_hint(offering), plan_id=_hint(plan)
        )
        return self._talk.poll(ask)[0]

    def _context(self, more: Mapping[str, Any]) -> dict[str, Any] | None:
        return {**self.platform.full_context, **more} or None

    def _with_nulls(self, ask: APIRequest) -> APIRequest:
        assert isinstance(ask.body, Mapping)
        return ask.with_body(**{name: None for name in self.platform.nulls if name not in ask.body})


def _as(found: Struct, kind: type[_R]) -> _R:
    assert isinstance(found, kind), "the table of answers says so"
    return found


def _id(told: ServiceOffering | ServicePlan | str) -> str:
    return told if isinstance(told, str) else told.id


def _hint(told: ServiceOffering | ServicePlan | str | None) -> str | None:
    return None if told is None else _id(told)


def _told(resource: BindResource | None) -> dict[str, Any]:
    if resource is None:
        return {}
    fields = ((name, getattr(resource, name)) for name in resource.__struct_fields__)
    return {name: value for name, value in fields if value is not None}
