"""Subscriptions of receivers to the signals of one broker, for the lifetime of that broker."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeAlias
from weakref import WeakKeyDictionary

from blinker import NamedSignal

from ..broker import Broker

Receiver: TypeAlias = Callable[..., object]

_RECEIVERS: WeakKeyDictionary[Broker, list[Receiver]] = WeakKeyDictionary()


def subscribe(broker: Broker, receivers: Mapping[NamedSignal, Receiver]) -> None:
    """Connect receivers to the signals of a broker, until the broker is garbage-collected.

    Args:
        broker: The broker. A receiver gets it as its first argument, and must hold no other reference to it.
        receivers: A receiver for each signal.

    Raises:
        TypeError: `broker` is not a `Broker`.
    """
    if not isinstance(broker, Broker):
        raise TypeError(f"subscribing to a {type(broker).__name__} is not supported; give the Broker")
    _RECEIVERS.setdefault(broker, []).extend(receivers.values())  # signals hold them weakly
    for signal, receiver in receivers.items():
        signal.connect(receiver, sender=broker)
