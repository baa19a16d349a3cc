"""A catalog that changes while instances of it are remembered: nothing that was promised is lost."""

from __future__ import annotations

import pytest

from brokerkit import Accepted, Catalog, LastOperation, Retry

from ..support.broker import BINDING, DELETE_QUERY, IDS, INSTANCE, PROVISION, Recorder, make_offering
from ..support.stateful import (
    CAN_POLL,
    CHANGING,
    LAST,
    POLLED,
    Platform,
    Serve,
    last_operation,
    poll_until_done,
    until,
)

WHOLE = Catalog([make_offering()])
WITHOUT_SMALL = Catalog([make_offering(plans=make_offering().plans[1:])])
EMPTY = Catalog([])


class Changing:
    """A catalog that comes from elsewhere."""

    def __init__(self) -> None:
        self.now = WHOLE

    def __call__(self) -> Catalog:
        return self.now


@pytest.fixture
def catalog() -> Changing:
    return Changing()


@pytest.fixture
def platform(serve: Serve, recorder: Recorder, catalog: Changing) -> Platform:
    return serve(recorder, catalog=catalog)


@pytest.mark.parametrize("shrunk", [WITHOUT_SMALL, EMPTY], ids=["without the plan", "empty"])
def test_what_was_made_of_a_plan_that_is_gone_is_remembered(
    platform: Platform, catalog: Changing, shrunk: Catalog
) -> None:
    """Polls are answered, nothing is made of it any more, and all is as it was when the plan is back."""
    platform.put(INSTANCE, {**PROVISION, "parameters": {"size": 3}})
    platform.put(BINDING, IDS)
    catalog.now = shrunk
    assert last_operation(platform, INSTANCE) == {"state": "succeeded"}
    assert last_operation(platform, BINDING) == {"state": "succeeded"}
    assert platform.put("/v2/service_instances/i2", PROVISION).status_code == 400
    assert platform.put(f"{INSTANCE}/service_bindings/b2", IDS).status_code == 400
    catalog.now = WHOLE
    assert platform.get(INSTANCE).json["parameters"] == {"size": 3}
    assert platform.get(BINDING).json["credentials"] == {"uri": "db://secret"}
    assert platform.delete(INSTANCE, query=DELETE_QUERY).status_code == 200


def test_an_instance_can_leave_a_plan_that_is_gone(
    platform: Platform, catalog: Changing, recorder: Recorder
) -> None:
    """R-UPD-3: where its offering says so, as the plan cannot say it any more."""
    platform.put(INSTANCE, PROVISION)
    catalog.now = WITHOUT_SMALL
    assert platform.get(INSTANCE).json["plan_id"] == "small-id"
    body = {"service_id": "db-id", "plan_id": "large-id"}
    assert platform.patch(INSTANCE, body).status_code == 200
    assert recorder.requests[-1].instance.plan.id == "small-id"
    assert platform.get(INSTANCE).json["plan_id"] == "large-id"


def test_a_handler_sees_an_instance_of_a_plan_that_is_gone(
    serve: Serve, recorder: Recorder, catalog: Changing
) -> None:
    platform = serve(recorder, catalog=catalog)
    platform.put(INSTANCE, PROVISION)
    catalog.now = WITHOUT_SMALL
    query = "service_id=db-id&plan_id=large-id"
    response = platform.delete(INSTANCE, query=query)
    if response.status_code == 200:
        assert recorder.requests[-1].instance.plan.id == "small-id"
    else:
        assert response.status_code >= 500  # so the platform keeps trying until the plan is back
        catalog.now = WHOLE
        assert platform.delete(INSTANCE, query=query).status_code == 200


def test_what_was_accepted_of_a_plan_that_is_gone(
    platform: Platform, catalog: Changing, recorder: Recorder
) -> None:
    """A poll is not told that it failed, and goes on when the plan is back."""
    recorder.answers["provision"] = Accepted()
    recorder.answers["last_operation"] = LastOperation.in_progress()
    operation = platform.put(INSTANCE, PROVISION, query=CAN_POLL).json["operation"]
    catalog.now = WITHOUT_SMALL
    response = platform.get(LAST, query=f"{DELETE_QUERY}&operation={operation}")
    assert response.status_code >= 500 or response.json["state"] == "in progress"
    catalog.now = WHOLE
    recorder.answers["last_operation"] = LastOperation.succeeded()
    assert poll_until_done(platform, INSTANCE, operation) == {"state": "succeeded"}


def test_background_work_of_a_plan_that_is_gone(
    serve: Serve, recorder: Recorder, catalog: Changing, caplog: pytest.LogCaptureFixture
) -> None:
    """A process without its handler leaves it to others, and says so; here it waits for the plan."""
    platform = serve(recorder, catalog=catalog, background=["provision"])
    recorder.answers["provision"] = lambda request: Retry(after=0.05, description="Waiting")
    operation = platform.put(INSTANCE, PROVISION, query=CAN_POLL).json["operation"]
    until(lambda: recorder.requests)
    catalog.now = WITHOUT_SMALL
    until(lambda: "is left to other processes" in caplog.text)
    assert platform.get(LAST, query=f"operation={operation}").json["state"] == "in progress"
    recorder.answers["provision"] = None
    catalog.now = WHOLE
    assert poll_until_done(platform, INSTANCE, operation) == {"state": "succeeded"}


def test_a_plan_that_is_gone_for_the_next_process(serve: Serve, recorder: Recorder) -> None:
    platform = serve(recorder)
    platform.put(INSTANCE, PROVISION)
    platform.put(BINDING, IDS)
    serve.stop()
    platform = serve(recorder, catalog=WITHOUT_SMALL, handlers=[*CHANGING, *POLLED])
    assert platform.get(INSTANCE).json["plan_id"] == "small-id"
    assert platform.get(BINDING).status_code == 200
    assert last_operation(platform, INSTANCE) == {"state": "succeeded"}
