"""`brokerkit catalog`: list the offerings and plans of a broker."""

from __future__ import annotations

from typing import Any

import click
import msgspec

from .._internal import console
from .._internal.masked_struct import MASK
from ..catalog.models import Catalog
from .context import CommandContext
from .options import broker_options

_COLUMNS = {
    "offering": "offering",
    "plan": "plan",
    "description": "description",
    "free": "free",
    "bindable": "bindable",
    "plan_updateable": "updateable",
    "version": "version",
}


@click.command(epilog="\b\nExample:\n  brokerkit catalog --url http://127.0.0.1:8080 --username platform")
@broker_options
def catalog(context: CommandContext) -> None:
    """List the service offerings of a broker and their plans."""
    catalog = context.catalog
    if context.output.as_json:
        console.print_json(_document(catalog))
        return
    rows = [
        {
            "offering": offering.name,
            "plan": plan.name,
            "description": plan.description,
            "free": plan.free,
            "bindable": plan.bindable,
            "plan_updateable": plan.plan_updateable,
            "version": plan.maintenance_info.version if plan.maintenance_info else None,
        }
        for offering in catalog.services
        for plan in offering.plans
    ]
    if rows:
        console.print_table(rows, _COLUMNS)
    else:
        context.output.note("The catalog has no offerings.")
    for warning in catalog.warnings:
        context.output.note(f"Warning: {warning}")


def _document(catalog: Catalog) -> dict[str, Any]:
    """Decode the catalog as the broker sent it, and mask the secrets of its dashboard clients."""
    document: dict[str, Any] = msgspec.json.decode(catalog.encoded)
    for offering in document["services"]:
        if "dashboard_client" in offering:
            offering["dashboard_client"]["secret"] = MASK
    return document
