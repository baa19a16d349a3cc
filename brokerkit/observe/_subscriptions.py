"""Receivers that live as long as the broker that they listen to."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeAlias
from weakref import WeakKeyDictionary

from blinker import NamedSignal

from ..broker import Broker

Receiver: TypeAlias = Callable[..., None]

_HELD: WeakKeyDictionary[Broker, list[Receiver]] = WeakKeyDictionary()


def subscribe(broker: Broker, receivers: Mapping[NamedSignal, Receiver]) -> None:
    """Have receivers called for one broker, until it is gone.

    Args:
        broker: The broker. A receiver gets it as its first argument, and must hold no other reference to it.
        receivers: What to call for which signal.

    Raises:
        TypeError: `broker` is no `Broker`.
    """
    if not isinstance(broker, Broker):
        raise TypeError(f"only a Broker is listened to, not a {type(broker).__name__}; give the Broker")
    _HELD.setdefault(broker, []).extend(receivers.values())  # signals hold them weakly
    for signal, receiver in receivers.items():
        signal.connect(receiver, sender=broker)
