"""Tests of the default descriptions of errors."""

from __future__ import annotations

import pytest

from brokerkit import AsyncRequired, BrokerError, ConcurrencyError, RequiresApp


@pytest.mark.rule("R-PROV-7", "R-ERR-3", "R-BIND-5")
@pytest.mark.parametrize(
    ("error", "description"),
    [
        (
            AsyncRequired,
            "This service plan requires client support for asynchronous service operations.",
        ),
        (
            ConcurrencyError,
            "The Service Broker does not support concurrent requests that mutate the same resource.",
        ),
        (
            RequiresApp,
            "This service supports generation of credentials through binding an application only.",
        ),
    ],
)
def test_description_is_recognised_by_kubernetes(error: type[BrokerError], description: str) -> None:
    """The Go client of Kubernetes' Service Catalog recognises these errors by their exact description."""
    assert error().description == description


def error_classes(base: type[BrokerError] = BrokerError) -> list[type[BrokerError]]:
    subclasses = [cls for cls in base.__subclasses__() if cls.__module__.startswith("brokerkit.")]
    return [base, *(cls for subclass in subclasses for cls in error_classes(subclass))]


@pytest.mark.parametrize("error", error_classes())
def test_description_is_a_sentence(error: type[BrokerError]) -> None:
    """End users read the default descriptions."""
    assert error.description[0].isupper()
    assert error.description.endswith(".")
