"""`brokerkit catalog`: what a broker offers."""

from __future__ import annotations

from typing import Any

import click
import msgspec

from .._internal import console as display
from .._internal.masked_struct import MASK
from ..catalog.models import Catalog
from .context import CommandContext
from .options import broker_options

_CATALOG = {
    "service": "offering",
    "plan": "plan",
    "description": "description",
    "free": "free",
    "bindable": "bindable",
    "plan_updateable": "updateable",
    "version": "version",
}


@click.command(epilog="\b\nExample:\n  brokerkit catalog --url http://127.0.0.1:8080 --username platform")
@broker_options
def catalog(desk: CommandContext) -> None:
    """Show the service offerings of a broker, and their plans."""
    found = desk.catalog
    if desk.talk.as_json:
        display.print_json(_document(found))
        return
    rows = [
        {
            "service": service.name,
            "plan": plan.name,
            "description": plan.description,
            "free": plan.free,
            "bindable": plan.bindable,
            "plan_updateable": plan.plan_updateable,
            "version": plan.maintenance_info.version if plan.maintenance_info else None,
        }
        for service in found.services
        for plan in service.plans
    ]
    if rows:
        display.print_table(rows, _CATALOG)
    else:
        desk.talk.note("The catalog has no offerings.")
    for warning in found.warnings:
        desk.talk.note(f"Warning: {warning}")


def _document(catalog: Catalog) -> dict[str, Any]:
    """The catalog without the secrets of its dashboard clients."""
    found: dict[str, Any] = msgspec.json.decode(catalog.encoded)
    for service in found["services"]:
        if "dashboard_client" in service:
            service["dashboard_client"]["secret"] = MASK
    return found
