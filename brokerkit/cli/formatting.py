"""What instances and bindings look like on stdout: facts for people, a JSON document for programs."""

from __future__ import annotations

import json
from typing import Any

from .._internal import console as display
from .state_file import KnownBinding, KnownInstance


def instance_report(url: str, instance: KnownInstance) -> dict[str, Any]:
    """An instance, as programs see it; no credentials are in it."""
    return {
        "url": url,
        "name": instance.name,
        "instance_id": instance.instance_id,
        "service": instance.service,
        "service_id": instance.service_id,
        "plan": instance.plan,
        "plan_id": instance.plan_id,
        "state": instance.state,
        "version": instance.version,
        "dashboard_url": instance.dashboard_url,
        "made_at": instance.made_at.isoformat(timespec="seconds"),
        "bindings": [
            {"name": each.name, "binding_id": each.binding_id, "state": each.state}
            for each in instance.bindings.values()
        ],
    }


_FACTS = {
    "name": "name",
    "instance_id": "id",
    "service": "offering",
    "plan": "plan",
    "version": "version",
    "state": "state",
    "dashboard_url": "dashboard",
}


def show_instance(url: str, instance: KnownInstance, *, as_json: bool) -> None:
    """Print an instance."""
    report = instance_report(url, instance)
    if as_json:
        display.print_json(report)
    else:
        display.print_facts(
            {title: report[name] for name, title in _FACTS.items() if report[name] is not None}
        )


def show_deleted(instance: KnownInstance, binding: KnownBinding | None = None, *, as_json: bool) -> None:
    """Print that something is gone."""
    if as_json:
        display.print_json(_names(instance, binding) | {"state": "deleted"})
    else:
        display.print_text(f"{(binding or instance).name} is deleted.")


def show_binding(
    instance: KnownInstance, binding: KnownBinding, result: dict[str, Any] | None, *, as_json: bool
) -> None:
    """Print a binding with its credentials.

    Args:
        instance: Of what.
        binding: Which.
        result: What the broker answered; None while it is in progress.
        as_json: Is it for a program?
    """
    report = _names(instance, binding) | {"state": binding.state}
    if as_json:
        display.print_json(report | (result or {}))
        return
    display.print_facts(report)
    found = dict(result or {})
    credentials = found.pop("credentials", None)
    if credentials:
        display.print_text("")
        display.print_facts({name: _exact(value) for name, value in credentials.items()}, exact=True)
    if found:
        display.print_text("")
        display.print_facts(found)


def _names(instance: KnownInstance, binding: KnownBinding | None) -> dict[str, Any]:
    names = {"name": instance.name, "instance_id": instance.instance_id}
    if binding is None:
        return names
    return {"name": binding.name, "binding_id": binding.binding_id, "instance": instance.name} | {
        "instance_id": instance.instance_id
    }


def _exact(value: object) -> str:
    """A value that can be told from others that look like it."""
    return value if isinstance(value, str) and value else json.dumps(value, ensure_ascii=False)
