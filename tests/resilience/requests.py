"""Paths, bodies and queries of platforms' requests."""

from __future__ import annotations

from typing import Any

CAN_POLL = "accepts_incomplete=true"


def instance_path(instance_id: str) -> str:
    return f"/v2/service_instances/{instance_id}"


def binding_path(instance_id: str, binding_id: str) -> str:
    return f"{instance_path(instance_id)}/service_bindings/{binding_id}"


def provision_body(plan: str, **parameters: Any) -> dict[str, Any]:
    return {
        "service_id": "db",
        "plan_id": plan,
        "organization_guid": "o1",
        "space_guid": "s1",
        "parameters": parameters,
    }


def binding_body(plan: str, **parameters: Any) -> dict[str, Any]:
    return {"service_id": "db", "plan_id": plan, "parameters": parameters}


def update_body(**parameters: Any) -> dict[str, Any]:
    return {"service_id": "db", "parameters": parameters}


def delete_query(plan: str) -> str:
    return f"service_id=db&plan_id={plan}"
