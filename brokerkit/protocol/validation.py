"""What a plan takes and allows: parameters, versions, plan changes, bindings.

Who asks decides which plan that is: for an instance that is there, the one that it has, by the store's word
or, without a store, by the platform's (`previous_values`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..catalog.json_schema import find_problems
from ..catalog.models import Catalog, MaintenanceInfo, ServiceOffering, ServicePlan
from ..errors import (
    BadRequest,
    BrokerError,
    InvalidParameters,
    MaintenanceInfoConflict,
    PlanChangeNotSupported,
)
from ..requests import BindRequest, ProvisionRequest, UpdateRequest


def check_provision(catalog: Catalog, request: ProvisionRequest) -> None:
    """R-PROV-6, R-PROV-8.

    Raises:
        BrokerError: The plan does not take its parameters or its version.
    """
    _check_parameters(catalog, request.plan, "service_instance", "create", request.parameters)
    _check_maintenance_info(request.plan, request.maintenance_info)


def check_update(catalog: Catalog, request: UpdateRequest, current: ServicePlan | None) -> None:
    """R-UPD-3 to R-UPD-5.

    Args:
        catalog: The catalog.
        request: What is asked for.
        current: The plan that the instance has; None if it is unknown or has left the catalog.

    Raises:
        BrokerError: The current plan, the offering or the wanted plan does not allow it.
    """
    wanted, asked = request.body.get("plan_id"), request.body
    before = current.id if current else request.previous_values.plan_id
    keeps_plan = wanted is None or wanted == before
    if not keeps_plan and before is not None:
        _check_plan_change(current or request.offering)
    only_context = request.body.get("context") is not None and request.maintenance_info is None
    if keeps_plan and only_context and asked.get("parameters") is None:
        _check_context_update(request.offering)
    _check_any(catalog, [request.plan] if request.plan else request.offering.plans, request)


def check_bind(catalog: Catalog, request: BindRequest) -> None:
    """R-BIND-5, R-BIND-6.

    Raises:
        BrokerError: The plan is not bindable, has no rotation, or does not take the parameters.
    """
    plan = request.plan
    if not plan.bindable:
        raise BadRequest(f"plan_id: the plan {plan.name!r} is not bindable")
    if request.predecessor is not None and not plan.binding_rotatable:
        raise BadRequest(f"predecessor_binding_id: bindings of the plan {plan.name!r} have no successors")
    _check_parameters(catalog, plan, "service_binding", "create", request.parameters)


def _check_parameters(
    catalog: Catalog, plan: ServicePlan, resource: str, action: str, parameters: dict[str, Any]
) -> None:
    validator = catalog.validator(plan, resource, action)
    if validator is not None and (found := find_problems(validator, parameters, root="parameters")):
        raise InvalidParameters("; ".join(found))


def _check_maintenance_info(plan: ServicePlan, info: MaintenanceInfo | None) -> None:
    if info is None:
        return
    if plan.maintenance_info is None or info.version != plan.maintenance_info.version:
        raise MaintenanceInfoConflict


def _check_plan_change(current: ServicePlan | ServiceOffering) -> None:
    """R-UPD-3; a plan that has left the catalog is as updateable as its offering says."""
    if not current.plan_updateable:
        raise PlanChangeNotSupported


def _check_context_update(service: ServiceOffering) -> None:
    if not service.allow_context_updates:  # R-UPD-4
        raise BrokerError(
            f"The offering {service.name!r} takes no updates of the context alone.",
            status=422,
            error="ContextUpdateNotSupported",
        )


def _check_any(catalog: Catalog, plans: Sequence[ServicePlan], request: UpdateRequest) -> None:
    """Refuse what none of the plans takes, one of which the instance has."""
    refusals: list[BrokerError] = []
    for plan in plans:
        try:
            if request.body.get("parameters") is not None:
                _check_parameters(catalog, plan, "service_instance", "update", request.parameters)
            _check_maintenance_info(plan, request.maintenance_info)
        except BrokerError as refusal:
            refusals.append(refusal)
        else:
            return
    raise refusals[0]
