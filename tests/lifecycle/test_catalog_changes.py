"""Changes of the catalog while the store has instances of its plans."""

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
    """A callable catalog that changes between requests."""

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


@pytest.mark.rule("R-LAST-1", "R-PROV-6")
@pytest.mark.parametrize("shrunk", [WITHOUT_SMALL, EMPTY], ids=["without the plan", "empty"])
def test_resources_survive_removal_of_plan(platform: Platform, catalog: Changing, shrunk: Catalog) -> None:
    """Polls work without the plan, new resources are refused, and everything is unchanged when the plan
    returns.
    """
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


@pytest.mark.rule("R-UPD-3", "R-GETI")
def test_update_can_leave_removed_plan(platform: Platform, catalog: Changing, recorder: Recorder) -> None:
    """`plan_updateable` of the offering decides because the plan is not in the catalog."""
    platform.put(INSTANCE, PROVISION)
    catalog.now = WITHOUT_SMALL
    assert platform.get(INSTANCE).json["plan_id"] == "small-id"
    body = {"service_id": "db-id", "plan_id": "large-id"}
    assert platform.patch(INSTANCE, body).status_code == 200
    assert recorder.requests[-1].instance.plan.id == "small-id"
    assert platform.get(INSTANCE).json["plan_id"] == "large-id"


@pytest.mark.rule("R-DEL-1", "R-ERR-4")
def test_delete_of_instance_with_removed_plan(serve: Serve, recorder: Recorder, catalog: Changing) -> None:
    """The DELETE succeeds with the stored plan, or is a 5xx until the plan returns."""
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


@pytest.mark.rule("R-LAST-1")
def test_accepted_operation_survives_removal_of_plan(
    platform: Platform, catalog: Changing, recorder: Recorder
) -> None:
    """Polls do not report failed, and polling continues when the plan returns."""
    recorder.answers["provision"] = Accepted()
    recorder.answers["last_operation"] = LastOperation.in_progress()
    operation = platform.put(INSTANCE, PROVISION, query=CAN_POLL).json["operation"]
    catalog.now = WITHOUT_SMALL
    response = platform.get(LAST, query=f"{DELETE_QUERY}&operation={operation}")
    assert response.status_code >= 500 or response.json["state"] == "in progress"
    catalog.now = WHOLE
    recorder.answers["last_operation"] = LastOperation.succeeded()
    assert poll_until_done(platform, INSTANCE, operation) == {"state": "succeeded"}


@pytest.mark.rule("R-LAST-1")
def test_background_operation_waits_for_removed_plan(
    serve: Serve, recorder: Recorder, catalog: Changing, caplog: pytest.LogCaptureFixture
) -> None:
    """A process without the handler leaves the operation to other processes and logs it."""
    platform = serve(recorder, catalog=catalog, background=["provision"])
    recorder.answers["provision"] = lambda request: Retry(after=0.05, description="Waiting")
    operation = platform.put(INSTANCE, PROVISION, query=CAN_POLL).json["operation"]
    until(lambda: recorder.requests)
    catalog.now = WITHOUT_SMALL
    until(lambda: "was not started: this process has no @" in caplog.text)
    assert platform.get(LAST, query=f"operation={operation}").json["state"] == "in progress"
    recorder.answers["provision"] = None
    catalog.now = WHOLE
    assert poll_until_done(platform, INSTANCE, operation) == {"state": "succeeded"}


@pytest.mark.rule("R-GETI", "R-GETB", "R-LAST-1")
def test_removed_plan_is_kept_after_restart(serve: Serve, recorder: Recorder) -> None:
    """A new process without the plan can still fetch and poll its resources."""
    platform = serve(recorder)
    platform.put(INSTANCE, PROVISION)
    platform.put(BINDING, IDS)
    serve.stop()
    platform = serve(recorder, catalog=WITHOUT_SMALL, handlers=[*CHANGING, *POLLED])
    assert platform.get(INSTANCE).json["plan_id"] == "small-id"
    assert platform.get(BINDING).status_code == 200
    assert last_operation(platform, INSTANCE) == {"state": "succeeded"}
