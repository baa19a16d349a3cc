"""The registry of all rules, in the order of the digest of the API."""

from __future__ import annotations

from collections.abc import Sequence

from .rule import Rule
from .rules import (
    bind,
    catalog,
    deletes,
    errors,
    get_binding,
    get_instance,
    last_operation,
    provision,
    update,
)
from .rules import requests as every_request

RULES: Sequence[Rule] = tuple(
    rule
    for rule_set in (
        every_request,
        errors,
        catalog,
        provision,
        get_instance,
        update,
        bind,
        get_binding,
        deletes,
        last_operation,
    )
    for rule in rule_set.RULES
)
"""All rules of the checker."""
