"""Validation of requests against a plan: parameters, versions, plan changes and bindings.

The caller provides the current plan of an existing instance: from the store, or without a store from the
platform's `previous_values`.
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
    """Check a provision against its plan (R-PROV-6, R-PROV-8).

    Raises:
        BrokerError: The plan does not accept the parameters or the version.
    """
    _check_parameters(catalog, request.plan, "service_instance", "create", request.parameters)
    _check_maintenance_info(request.plan, request.maintenance_info)


def check_update(catalog: Catalog, request: UpdateRequest, current: ServicePlan | None) -> None:
    """Check an update against the current and the new plan (R-UPD-3 to R-UPD-5).

    Args:
        catalog: The catalog.
        request: The request.
        current: The plan of the instance, or None if it is unknown or no longer in the catalog.

    Raises:
        BrokerError: The current plan, the offering or the new plan does not allow the update.
    """
    body = request.body
    new_id = body.get("plan_id")
    current_id = current.id if current else request.previous_values.plan_id
    keeps_plan = new_id is None or new_id == current_id
    if not keeps_plan and current_id is not None:
        _check_plan_change(current or request.offering)
    has_context = body.get("context") is not None
    if keeps_plan and has_context and request.maintenance_info is None and body.get("parameters") is None:
        _check_context_update(request.offering)
    _check_any_plan(catalog, [request.plan] if request.plan else request.offering.plans, request)


def check_bind(catalog: Catalog, request: BindRequest) -> None:
    """Check a bind against its plan (R-BIND-5, R-BIND-6).

    Raises:
        BrokerError: The plan is not bindable, does not support rotation, or does not accept the parameters.
    """
    plan = request.plan
    if not plan.bindable:
        raise BadRequest(f"plan_id: The service plan {plan.name!r} is not bindable.")
    if request.predecessor is not None and not plan.binding_rotatable:
        raise BadRequest(
            f"predecessor_binding_id: The service plan {plan.name!r} does not support rotation of bindings."
        )
    _check_parameters(catalog, plan, "service_binding", "create", request.parameters)


def _check_parameters(
    catalog: Catalog, plan: ServicePlan, resource: str, action: str, parameters: dict[str, Any]
) -> None:
    validator = catalog.validator(plan, resource, action)
    if validator is not None and (problems := find_problems(validator, parameters, root="parameters")):
        raise InvalidParameters("; ".join(problems))


def _check_maintenance_info(plan: ServicePlan, info: MaintenanceInfo | None) -> None:
    if info is None:
        return
    if plan.maintenance_info is None or info.version != plan.maintenance_info.version:
        raise MaintenanceInfoConflict


def _check_plan_change(current: ServicePlan | ServiceOffering) -> None:
    """Check that the plan can be changed. The offering decides for a removed plan (R-UPD-3)."""
    if not current.plan_updateable:
        raise PlanChangeNotSupported


def _check_context_update(offering: ServiceOffering) -> None:
    if not offering.allow_context_updates:  # R-UPD-4
        raise BrokerError(
            f"The service offering {offering.name!r} does not support updates of the context only.",
            status=422,
            error="ContextUpdateNotSupported",
        )


def _check_any_plan(catalog: Catalog, plans: Sequence[ServicePlan], request: UpdateRequest) -> None:
    """Reject an update if none of the plans accepts it. The instance has one of these plans."""
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
