"""Output of instances and bindings on stdout: fields for people, a JSON document for programs."""

from __future__ import annotations

import json
from typing import Any

from .._internal import console
from .state_file import KnownBinding, KnownInstance


def instance_report(url: str, instance: KnownInstance) -> dict[str, Any]:
    """Describe an instance and its bindings as a JSON object, without credentials."""
    return {
        "url": url,
        "name": instance.name,
        "instance_id": instance.instance_id,
        "offering": instance.offering,
        "service_id": instance.service_id,
        "plan": instance.plan,
        "plan_id": instance.plan_id,
        "state": instance.state,
        "version": instance.version,
        "dashboard_url": instance.dashboard_url,
        "made_at": instance.created_at.isoformat(timespec="seconds"),
        "bindings": [
            {"name": binding.name, "binding_id": binding.binding_id, "state": binding.state}
            for binding in instance.bindings.values()
        ],
    }


_FACTS = {
    "name": "name",
    "instance_id": "id",
    "offering": "offering",
    "plan": "plan",
    "version": "version",
    "state": "state",
    "dashboard_url": "dashboard",
}


def show_instance(url: str, instance: KnownInstance, *, as_json: bool) -> None:
    """Print an instance."""
    report = instance_report(url, instance)
    if as_json:
        console.print_json(report)
    else:
        console.print_facts(
            {title: report[name] for name, title in _FACTS.items() if report[name] is not None}
        )


def show_deleted(instance: KnownInstance, binding: KnownBinding | None = None, *, as_json: bool) -> None:
    """Print that an instance or a binding is deleted."""
    if as_json:
        console.print_json(_names(instance, binding) | {"state": "deleted"})
    else:
        console.print_text(f"{(binding or instance).name} is deleted.")


def show_binding(
    instance: KnownInstance, binding: KnownBinding, result: dict[str, Any] | None, *, as_json: bool
) -> None:
    """Print a binding with its credentials.

    Args:
        instance: The instance of the binding.
        binding: The binding.
        result: The broker's response; None while the binding is in progress.
        as_json: Whether to print a JSON document.
    """
    report = _names(instance, binding) | {"state": binding.state}
    if as_json:
        console.print_json(report | (result or {}))
        return
    console.print_facts(report)
    other_fields = dict(result or {})
    credentials = other_fields.pop("credentials", None)
    if credentials:
        console.print_text("")
        console.print_facts({name: _exact(value) for name, value in credentials.items()}, exact=True)
    if other_fields:
        console.print_text("")
        console.print_facts(other_fields)


def _names(instance: KnownInstance, binding: KnownBinding | None) -> dict[str, Any]:
    names = {"name": instance.name, "instance_id": instance.instance_id}
    if binding is None:
        return names
    return {"name": binding.name, "binding_id": binding.binding_id, "instance": instance.name} | {
        "instance_id": instance.instance_id
    }


def _exact(value: object) -> str:
    """Format a value unambiguously: text as it is, everything else and the empty text as JSON."""
    return value if isinstance(value, str) and value else json.dumps(value, ensure_ascii=False)
