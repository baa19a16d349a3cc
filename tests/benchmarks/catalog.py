"""The catalog of all three brokers: one offering with two plans, with the ids of the recorded traffic.

It is small, because encoding once saves more for a larger catalog. Every field is set, so that all three
brokers return the same JSON in spite of their different defaults.
"""

from __future__ import annotations

from typing import Any

_PARAMETERS: dict[str, Any] = {
    "$schema": "http://json-schema.org/draft-07/schema#",
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "extensions": {
            "type": "array",
            "items": {"type": "string", "pattern": "^[a-z_]+$"},
            "maxItems": 20,
        }
    },
}


def _plan(id_: str, name: str, description: str, euros: int) -> dict[str, Any]:
    return {
        "id": id_,
        "name": name,
        "description": description,
        "metadata": {
            "displayName": name.title(),
            "bullets": ["PostgreSQL 17", "Daily backups"],
            "costs": [{"amount": {"eur": euros}, "unit": "MONTHLY"}],
        },
        "free": False,
        "bindable": True,
        "plan_updateable": True,
        "schemas": {
            "service_instance": {
                "create": {"parameters": _PARAMETERS},
                "update": {"parameters": _PARAMETERS},
            },
            "service_binding": {"create": {"parameters": _PARAMETERS}},
        },
        "maintenance_info": {"version": "1.0.0", "description": "PostgreSQL 17.2"},
    }


CATALOG: dict[str, Any] = {
    "services": [
        {
            "id": "5c1c3c6e-0c2b-4e0c-9f0a-3a4b8b1d0001",
            "name": "postgres",
            "description": "Databases",
            "bindable": True,
            "plans": [
                _plan("5c1c3c6e-0c2b-4e0c-9f0a-3a4b8b1d0011", "small", "One node", 9),
                _plan("5c1c3c6e-0c2b-4e0c-9f0a-3a4b8b1d0012", "large", "Three nodes", 90),
            ],
            "tags": ["postgresql", "relational"],
            "requires": ["syslog_drain"],
            "instances_retrievable": True,
            "bindings_retrievable": True,
            "plan_updateable": True,
            "metadata": {"displayName": "PostgreSQL", "documentationUrl": "https://db.example.org"},
        }
    ]
}
