"""Copies of JSON values: a handler cannot change what is stored, nor the record that it was read from."""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec

from ..resources import BindResource
from ..results import Binding, InstanceMetadata
from ..store.models import BindingResult, InstanceAttributes, InstanceResult, Outcome

_T = TypeVar("_T")
_encoder = msgspec.json.Encoder()
# Build decoders at import time: msgspec inspects types lazily, which is not thread-safe.
_DECODERS: dict[type, msgspec.json.Decoder[Any]] = {
    kind: msgspec.json.Decoder(kind)
    for kind in (
        Binding,
        BindingResult,
        BindResource,
        InstanceAttributes,
        InstanceMetadata,
        InstanceResult,
        Outcome,
        dict,
    )
}

UNENCODABLE = (TypeError, ValueError, RecursionError, msgspec.MsgspecError)
"""The exceptions of :func:`json_copy`."""


def json_copy(value: _T) -> _T:
    """Copy a dict or a struct of the store, as the store would return it. This is faster than `deepcopy`.

    Raises:
        Exception: JSON cannot represent the value: one of :data:`UNENCODABLE`.
    """
    return _DECODERS[type(value)].decode(_encoder.encode(value))  # type: ignore[no-any-return]
