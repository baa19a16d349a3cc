"""From what a handler answered to a status and a body, or to the mistake that its author made."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

import msgspec

from .catalog import Catalog, ServiceOffering
from .errors import BrokerError
from .requests import Operation
from .results import (
    Accepted,
    Binding,
    BindingMetadata,
    Deprovisioned,
    InstanceDetails,
    LastOperation,
    Provisioned,
    Unbound,
    Updated,
)


class HandlerMistake(Exception):
    """A handler answered what no platform may be told; the message tells its author what to change."""


class Answer(NamedTuple):
    """What goes back over HTTP."""

    status: int
    body: bytes
    headers: Sequence[tuple[str, str]] = ()


class _Form(NamedTuple):
    """How one kind of result answers one operation: its status, and the fields that are told."""

    status: int
    fields: tuple[str, ...] = ()


_INSTANCE = ("dashboard_url", "metadata")
_BINDING = (
    "credentials",
    "syslog_drain_url",
    "route_service_url",
    "volume_mounts",
    "endpoints",
    "metadata",
)
_ACCEPTED_INSTANCE = _Form(202, ("operation", *_INSTANCE))
_ACCEPTED = _Form(202, ("operation",))  # without credentials, R-BIND-1

FORMS: dict[Operation, dict[type[msgspec.Struct], _Form]] = {
    Operation.PROVISION: {Provisioned: _Form(201, _INSTANCE), Accepted: _ACCEPTED_INSTANCE},
    Operation.UPDATE: {Updated: _Form(200, _INSTANCE), Accepted: _ACCEPTED_INSTANCE},
    Operation.DEPROVISION: {Deprovisioned: _Form(200), Accepted: _ACCEPTED},
    Operation.BIND: {Binding: _Form(201, _BINDING), Accepted: _ACCEPTED},
    Operation.UNBIND: {Unbound: _Form(200), Accepted: _ACCEPTED},
    Operation.GET_INSTANCE: {
        InstanceDetails: _Form(200, ("service_id", "plan_id", *_INSTANCE, "parameters", "maintenance_info"))
    },
    Operation.GET_BINDING: {Binding: _Form(200, (*_BINDING, "parameters"))},
    Operation.LAST_OPERATION: {
        LastOperation: _Form(200, ("state", "description", "instance_usable", "update_repeatable"))
    },
    Operation.LAST_BINDING_OPERATION: {LastOperation: _Form(200, ("state", "description"))},
}
"""What may answer an operation, and how."""

_UNTOLD = {
    (operation, kind): [
        name for name in kind.__struct_fields__ if name not in (*form.fields, "exists", "retry_after")
    ]
    for operation, forms in FORMS.items()
    for kind, form in forms.items()
}
"""The fields of a result that have no place in the answer to that operation."""

_DECODERS = {kind: msgspec.json.Decoder(kind) for forms in FORMS.values() for kind in forms}

PLAIN_SUCCESS: dict[Operation, object] = {
    Operation.PROVISION: Provisioned(),
    Operation.UPDATE: Updated(),
    Operation.DEPROVISION: Deprovisioned(),
    Operation.UNBIND: Unbound(),
}
"""What None means, where it means anything."""

_MAY_TELL = {
    Operation.UPDATE: ("instance_usable", "update_repeatable"),
    Operation.DEPROVISION: ("instance_usable",),
}
"""What else a failure may tell, of which operation (R-ERR-2)."""

_NEEDED = {
    "syslog_drain_url": "syslog_drain",
    "route_service_url": "route_forwarding",
    "volume_mounts": "volume_mount",
}
"""What an offering must require for its bindings to have a field (R-BIND-2)."""

_EMPTY = b"{}"
_encoder = msgspec.json.Encoder()


def encode_result(
    operation: Operation, result: Any, *, service: ServiceOffering | None, accepts_incomplete: bool
) -> Answer:
    """Write what a handler answered.

    Args:
        operation: What was asked.
        result: What was answered; None was replaced by the :data:`PLAIN_SUCCESS`.
        service: The offering, where it is known.
        accepts_incomplete: Can the platform poll?

    Raises:
        HandlerMistake: It is no answer to that operation.
    """
    form = FORMS[operation].get(type(result))
    if form is None:
        raise HandlerMistake(_wrong_kind(operation, result))
    if type(result) is Accepted and not accepts_incomplete:
        raise HandlerMistake(
            "returned Accepted to a platform that cannot poll; raise AsyncRequired() before the work starts"
            " if request.accepts_incomplete is False"
        )
    if type(result) is Binding and service is not None:
        _check_requirements(result, service)
    body = _body(operation, form, result)
    status = 200 if form.status == 201 and result.exists else form.status
    if type(result) is LastOperation and result.retry_after is not None:
        return Answer(status, body, (("Retry-After", str(result.retry_after)),))
    return Answer(status, body)


def encode_catalog(catalog: Catalog) -> Answer:
    """Write the catalog, or rather, hand out what was written once."""
    return Answer(200, catalog.encoded, (("ETag", catalog.etag),))


def encode_error(error: BrokerError, method: str, operation: Operation | None) -> Answer:
    """Write a refusal (R-ERR-1, R-ERR-2)."""
    status = error.status_for(method)
    if status == 410:
        return Answer(status, _EMPTY, error.headers)  # R-UNB-1
    document: dict[str, object] = {"description": error.description}
    if error.error is not None:
        document["error"] = error.error
    if operation in _MAY_TELL:
        for name in _MAY_TELL[operation]:
            if getattr(error, name) is not None:
                document[name] = getattr(error, name)
    return Answer(status, _encoder.encode(document), error.headers)


def _wrong_kind(operation: Operation, result: object) -> str:
    kinds = [f"{kind.__name__}(…)" for kind in FORMS[operation]]
    if operation in PLAIN_SUCCESS:
        kinds.append("None")
    got = "None" if result is None else f"a {type(result).__name__}"
    return f"returned {got}; return {' or '.join(kinds)}, or raise a BrokerError"


def _check_requirements(binding: Binding, service: ServiceOffering) -> None:
    for field, requirement in _NEEDED.items():
        if getattr(binding, field) is not None and requirement not in service.requires:
            raise HandlerMistake(
                f"returned a Binding with {field}, but the offering {service.name!r} does not require"
                f" {requirement!r}; add that to its `requires` in the catalog, or leave the field out"
            )


def _body(operation: Operation, form: _Form, result: Any) -> bytes:
    """The result as JSON, checked by reading it back as what it should be."""
    document: dict[str, object] = {}
    for name in form.fields:
        value = getattr(result, name)
        if value is not None:
            document[name] = _times(value) if type(value) is BindingMetadata else value
    for name in _UNTOLD[operation, type(result)]:
        if getattr(result, name) is not None:
            raise HandlerMistake(
                f"returned {type(result).__name__}({name}=…), which has no place in the answer to"
                f" {operation}; leave it out"
            )
    if form.status == 202:
        document.setdefault("operation", operation.value)  # R-DEL-4
    if not document:
        return _EMPTY
    try:
        body = _encoder.encode(document)
        _DECODERS[type(result)].decode(body)
    except msgspec.ValidationError as error:
        raise HandlerMistake(f"returned a {type(result).__name__} that is not right: {error}") from None
    except (TypeError, ValueError, RecursionError) as error:
        raise HandlerMistake(
            f"returned a {type(result).__name__} that cannot be written as JSON: {error}"
        ) from None
    return body


def _times(metadata: BindingMetadata) -> dict[str, str]:
    moments = {"expires_at": metadata.expires_at, "renew_before": metadata.renew_before}
    return {name: _written(moment) for name, moment in moments.items() if moment is not None}


def _written(moment: datetime) -> str:
    """As R-BIND-4 has it: ``2026-11-23T15:55:00.0Z``."""
    return (
        moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.")
        + f"{moment.microsecond:06}".rstrip("0").ljust(1, "0")
        + "Z"
    )
