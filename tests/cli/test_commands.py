"""Tests of the commands for instances and bindings: their requests, output and errors."""

from __future__ import annotations

import json
import signal
import threading
from http.server import BaseHTTPRequestHandler
from typing import Any

import pytest

from brokerkit import DashboardClient, ServiceOffering, ServicePlan

from ..support.fake_broker import FakeBroker, close_connection, respond
from ..support.servers import free_port
from .conftest import MAIL, CommandRunner, catalog_response, poll_response

pytestmark = pytest.mark.integration

REFUSED = respond(400, {"error": "QuotaExceeded", "description": "Too many\x1b[2J letters."})
GONE = respond(410)


def press_ctrl_c(handler: BaseHTTPRequestHandler) -> None:
    """Simulate Ctrl-C while the command waits for a response."""
    main = threading.main_thread().ident
    assert main is not None
    signal.pthread_kill(main, signal.SIGINT)


# The whole lifecycle at a real broker


def test_catalog_lists_plans_as_table(real: CommandRunner) -> None:
    lines = real.output("catalog").splitlines()
    assert lines[0].split() == [
        "offering", "plan", "description", "free", "bindable", "updateable", "version",
    ]  # fmt: skip
    assert lines[1].split() == ["db", "small", "A", "small", "one", "yes", "yes", "yes", "1.0.0"]
    assert len(lines) == 7


def test_lifecycle_works_by_instance_name(real: CommandRunner) -> None:
    """An instance is provisioned, bound, updated, unbound and deprovisioned by name."""
    assert "ready" in real.output("provision", "db", "small", "orders", "-p", "size=3")
    bound = real.json("bind", "orders", "shop")
    assert bound["credentials"]["api_key"] == "k3y"
    assert real.json("credentials", "orders") == bound | {"state": "ready"}
    assert real.json("services")[0]["bindings"] == [
        {"name": "shop", "binding_id": bound["binding_id"], "state": "ready"}
    ]
    assert real.output("update", "orders", "--plan", "large").split()[7] == "large"
    assert real.output("unbind", "orders", "shop") == "shop is deleted.\n"
    assert real.output("deprovision", "orders") == "orders is deleted.\n"
    assert real.instances == {}


def test_asynchronous_provision_prints_each_progress_change(real: CommandRunner, gate: Any) -> None:
    gate.opened.set()
    result = real.run("provision", "db", "large", "orders")
    lines = result.stderr.splitlines()
    assert "\x1b" not in result.output, "control characters of the broker must be escaped"
    assert set(lines[:-1]) <= {
        "Provisioning orders: in progress",
        "Provisioning orders: Making a volume\\x1b[2J",
        "Provisioning orders: Starting the server",
    }
    assert lines[-1] == "Provisioning orders: succeeded"
    assert real.instances["orders"].state == "ready"


def test_no_wait_operation_is_polled_later(real: CommandRunner, gate: Any) -> None:
    result = real.run("provision", "db", "large", "my orders", "--no-wait")
    assert "creating" in result.stdout
    assert result.stderr == (
        "The operation continues at the service broker. To wait for it: brokerkit poll 'my orders'\n"
    )
    assert real.instances["my orders"].state == "creating"
    gate.opened.set()
    assert real.json("poll", "my orders")["state"] == "ready"
    assert real.instances["my orders"].state == "ready"


def test_failed_provision_can_be_deprovisioned(real: CommandRunner) -> None:
    message = real.error("provision", "db", "tiny", "orders")
    assert "Error: the operation failed: There is no room." in message
    assert "To delete the failed resource: brokerkit deprovision orders" in message
    assert real.instances["orders"].state == "failed"
    assert real.output("deprovision", "orders") == "orders is deleted.\n"


@pytest.mark.parametrize("platform", ["cloudfoundry", "korifi", "kubernetes"])
def test_lifecycle_works_for_each_platform(real: CommandRunner, platform: str) -> None:
    options = ("--platform", platform)
    real.run("provision", "db", "small", "orders", *options)
    real.run("update", "orders", "--plan", "large", "-p", "size=3", *options)
    real.run("bind", "orders", "shop", *options)
    real.run("deprovision", "orders", "--yes", *options)
    assert real.instances == {}


# Requests


def test_provision_sends_cloud_foundry_fields(fake: FakeBroker, runner: CommandRunner) -> None:
    fake.script(catalog_response(), respond(201))
    runner.run("provision", "mail-id", "post-id", "orders", "--platform", "cloudfoundry")
    body = fake.requests[1].json
    assert (body["service_id"], body["plan_id"]) == ("mail-id", "post-id")
    assert body["maintenance_info"] == {"version": "1.0.0"}
    assert body["context"]["instance_name"] == "orders"
    assert "parameters" not in body


def test_update_sends_cloud_foundry_previous_values(fake: FakeBroker, orders: CommandRunner) -> None:
    fake.script(catalog_response(), respond(200))
    orders.run("update", "orders", "--plan", "bird", "-p", "a=1", "--platform", "cloudfoundry")
    body = fake.requests[1].json
    assert body["plan_id"] == "bird-id"
    assert body["maintenance_info"] == {"version": "2.0.0"}
    assert body["previous_values"]["plan_id"] == "post-id"
    assert body["previous_values"]["maintenance_info"] == {"version": "1.0.0"}
    assert body["previous_values"].keys() >= {"service_id", "organization_id", "space_id"}
    assert body["context"]["instance_name"] == "orders"
    instance = orders.instances["orders"]
    assert (instance.plan, instance.plan_id, instance.version) == ("bird", "bird-id", "2.0.0")


def test_update_of_parameters_keeps_plan_and_version(fake: FakeBroker, orders: CommandRunner) -> None:
    fake.script(catalog_response(), respond(200, {"dashboard_url": "https://mail.example.org/o"}))
    assert "https://mail.example.org/o" in orders.output("update", "orders", "-c", '{"a": {"b": 1}}')
    body = fake.requests[1].json
    assert body["plan_id"] == "post-id"
    assert "maintenance_info" not in body
    assert "context" not in body


def test_upgrade_sends_catalog_maintenance_version(fake: FakeBroker, orders: CommandRunner) -> None:
    fake.script(catalog_response(), respond(200))
    orders.run("update", "orders", "--upgrade")
    assert fake.requests[1].json["maintenance_info"] == {"version": "1.0.0"}


@pytest.mark.rule("R-UPD-6")
def test_update_poll_sends_the_previous_plan(fake: FakeBroker, orders: CommandRunner) -> None:
    fake.script(
        catalog_response(),
        respond(202, {"operation": "job 7"}),
        poll_response("in progress"),
        poll_response("succeeded"),
    )
    orders.run("update", "orders", "--plan", "bird")
    assert fake.requests[2].query == {"service_id": "mail-id", "plan_id": "post-id", "operation": "job 7"}
    assert orders.instances["orders"].plan == "bird"


def test_bind_sends_app_and_predecessor(fake: FakeBroker, orders: CommandRunner) -> None:
    fake.script(catalog_response(), respond(201, {"credentials": {"uri": "x"}}))
    first = orders.json("bind", "orders")
    fake.script(catalog_response(), respond(201, {"credentials": {"uri": "y"}}))
    fake.requests.clear()
    orders.run("bind", "orders", "--rotate", first["name"], "--app", "app-1", "-p", "a=1")
    body = fake.requests[1].json
    assert body["predecessor_binding_id"] == first["binding_id"]
    assert body["bind_resource"] == {"app_guid": "app-1"}
    assert body["parameters"] == {"a": 1}


def test_resource_ids_can_be_chosen(fake: FakeBroker, runner: CommandRunner) -> None:
    fake.script(catalog_response(), respond(201))
    runner.run("provision", "mail", "post", "--id", "i1")
    fake.script(catalog_response(), respond(201, {"credentials": {}}))
    runner.run("bind", "i1", "shop", "--id", "b1")
    assert [request.path for request in fake.requests if request.method == "PUT"] == [
        "/v2/service_instances/i1",
        "/v2/service_instances/i1/service_bindings/b1",
    ]


def test_instance_name_is_generated_by_default(fake: FakeBroker, runner: CommandRunner) -> None:
    fake.script(catalog_response(), respond(201))
    created = runner.json("provision", "mail", "post")
    assert created["name"] in runner.instances
    assert created["instance_id"] != created["name"]


def test_deprovision_accepts_unknown_instance_id(fake: FakeBroker, runner: CommandRunner) -> None:
    """An instance that was created elsewhere is deleted by its id and not stored."""
    fake.script(catalog_response(), respond(200))
    assert runner.output("deprovision", "i1", "--offering", "mail", "--plan", "post") == "i1 is deleted.\n"
    assert fake.requests[1].path == "/v2/service_instances/i1"
    assert runner.instances == {}


def test_update_of_unknown_instance_is_stored_temporarily(fake: FakeBroker, runner: CommandRunner) -> None:
    """An instance that was created elsewhere stays in the state file only while its update is in progress."""
    fake.script(catalog_response(), respond(202, {"operation": "o"}))
    foreign = ("--offering", "mail", "--current-plan", "post")
    result = runner.run("update", "i1", "--plan", "bird", "--no-wait", *foreign)
    assert "brokerkit poll i1 --offering mail --plan post" in result.stderr
    assert runner.instances["i1"].state == "updating"
    fake.script(poll_response("succeeded"))
    assert runner.json("poll", "i1")["plan"] == "bird"
    assert runner.instances == {}


def test_binding_of_unknown_instance_is_stored(fake: FakeBroker, runner: CommandRunner) -> None:
    foreign = ("--offering", "mail", "--plan", "post")
    fake.script(catalog_response(), respond(201, {"credentials": {"uri": "x"}}))
    runner.run("bind", "i1", "shop", *foreign)
    assert runner.instances["i1"].bindings
    fake.script(respond(200))
    runner.run("unbind", "i1", "shop")
    assert runner.instances == {}


def test_unbind_accepts_unknown_binding_id(fake: FakeBroker, orders: CommandRunner) -> None:
    fake.script(respond(200))
    orders.run("unbind", "orders", "b9")
    assert fake.requests[0].path.endswith("/service_bindings/b9")
    assert orders.instances["orders"].bindings == {}


# Credentials


def test_unfetchable_credentials_are_stored(fake: FakeBroker, orders: CommandRunner) -> None:
    """If the offering is not `bindings_retrievable`, the credentials are kept in the state file."""
    document = {"credentials": {"api_key": "k", "port": 1}, "syslog_drain_url": "syslog://x"}
    offering = {"services": [{**json.loads(_plain(MAIL)), "requires": ["syslog_drain"]}]}
    fake.script(respond(200, offering), respond(201, document))
    orders.run("bind", "orders", "shop")
    fake.requests.clear()
    output = orders.output("credentials", "orders", "shop")
    assert [line.split() for line in output.splitlines()[4:]] == [
        ["state", "ready"], [], ["api_key", "k"], ["port", "1"], [], ["syslog", "drain", "url", "syslog://x"],
    ]  # fmt: skip
    assert fake.requests == []
    assert "'k'" not in repr(orders.instances)


def _plain(offering: ServiceOffering) -> bytes:
    import msgspec

    return msgspec.json.encode(offering)


def test_fetchable_credentials_are_not_stored(real: CommandRunner) -> None:
    real.run("provision", "db", "small", "orders")
    real.run("bind", "orders")
    assert "k3y" not in real.state_file.path.read_text()


def test_asynchronous_bind_fetches_credentials_when_done(fake: FakeBroker, orders: CommandRunner) -> None:
    fake.script(
        catalog_response(),
        respond(202, {"operation": "o"}),
        poll_response("succeeded"),
        respond(200, {"credentials": {"a": 1}}),
    )
    assert orders.json("bind", "orders")["credentials"] == {"a": 1}
    assert fake.requests[3].method == "GET"


def test_poll_of_bind_shows_no_credentials(fake: FakeBroker, orders: CommandRunner) -> None:
    fake.script(catalog_response(), respond(202, {"operation": "o"}))
    waiting = orders.json("bind", "orders", "shop", "--no-wait")
    assert (waiting["state"], waiting.get("credentials")) == ("creating", None)
    fake.script(poll_response("succeeded"), respond(200, {"credentials": {"a": "hidden"}}))
    assert "hidden" not in orders.output("poll", "orders", "shop")
    assert orders.instances["orders"].bindings[waiting["binding_id"]].state == "ready"


def test_failed_credentials_fetch_keeps_the_binding(fake: FakeBroker, orders: CommandRunner) -> None:
    fake.script(
        catalog_response(), respond(202, {"operation": "o"}), poll_response("succeeded"), respond(404)
    )
    message = orders.error("bind", "orders", "shop")
    assert "To try again: brokerkit credentials orders shop" in message
    assert orders.instances["orders"].binding("shop") is not None
    assert "404" in orders.error("credentials", "orders")


@pytest.mark.parametrize("number", [0, 2])
def test_credentials_requires_binding_name_if_ambiguous(
    fake: FakeBroker, orders: CommandRunner, number: int
) -> None:
    for name in ("one", "two")[:number]:
        fake.script(catalog_response(), respond(201, {"credentials": {}}))
        orders.run("bind", "orders", name)
    message = orders.error("credentials", "orders")
    assert ("give one of: one, two" if number else "has no bindings") in message


# Deletion


def test_deprovision_yes_deletes_bindings_first(fake: FakeBroker, orders: CommandRunner) -> None:
    fake.script(catalog_response(), respond(201, {"credentials": {}}))
    orders.run("bind", "orders", "shop")
    assert "has bindings (shop); unbind them, or give --yes" in orders.error("deprovision", "orders")
    fake.script(respond(200))
    fake.requests.clear()
    assert orders.run("deprovision", "orders", "--yes").stderr == "orders/shop is deleted.\n"
    assert [request.method for request in fake.requests] == ["DELETE", "DELETE"]
    assert orders.instances == {}


@pytest.mark.parametrize(("typed", "code", "left"), [("y\n", 0, 0), ("n\n", 1, 1)])
def test_deprovision_asks_before_deleting_bindings(
    fake: FakeBroker, orders: CommandRunner, monkeypatch: pytest.MonkeyPatch, typed: str, code: int, left: int
) -> None:
    fake.script(catalog_response(), respond(201, {"credentials": {}}))
    orders.run("bind", "orders", "shop")
    monkeypatch.setattr("brokerkit.cli.instances.can_prompt", lambda: True)
    fake.script(respond(200))
    assert "Delete them too?" in orders.run("deprovision", "orders", code=code, typing=typed).stderr
    assert len(orders.instances) == left


def test_no_wait_deprovision_is_polled_later(fake: FakeBroker, orders: CommandRunner) -> None:
    fake.script(respond(202, {"operation": "o"}))
    assert orders.json("deprovision", "orders", "--no-wait")["state"] == "deleting"
    fake.script(poll_response("in progress"), GONE)
    assert orders.json("poll", "orders")["state"] == "deleted"
    assert orders.instances == {}


def test_no_wait_unbind_is_polled_later(fake: FakeBroker, orders: CommandRunner) -> None:
    fake.script(catalog_response(), respond(201, {"credentials": {}}))
    orders.run("bind", "orders", "shop")
    fake.script(respond(202, {"operation": "o"}))
    assert orders.json("unbind", "orders", "shop", "--no-wait")["state"] == "deleting"
    fake.script(GONE)
    assert orders.output("poll", "orders", "shop") == "shop is deleted.\n"
    assert orders.instances["orders"].bindings == {}


# Failures


def test_refusal_is_one_line_with_description(fake: FakeBroker, runner: CommandRunner) -> None:
    fake.script(catalog_response(), REFUSED)
    message = runner.error("provision", "mail", "post", "orders")
    assert message == "Error: the service broker returned 400 QuotaExceeded: Too many\\x1b[2J letters.\n"
    assert runner.instances == {}


def test_refusal_can_be_printed_as_json(fake: FakeBroker, runner: CommandRunner) -> None:
    fake.script(catalog_response(), respond(422, {"error": "AsyncRequired", "description": "Too slow."}))
    assert runner.error_json("provision", "mail", "post") == {
        "error": "AsyncRequired",
        "description": "Too slow.",
        "status": 422,
    }


@pytest.mark.parametrize("command", [("update", "orders", "-p", "a=1"), ("deprovision", "orders")])
def test_refusal_leaves_instance_state_unchanged(
    fake: FakeBroker, orders: CommandRunner, command: tuple[str, ...]
) -> None:
    before = orders.instances
    fake.script(*([catalog_response()] if "update" in command else []), REFUSED)
    orders.error(*command)
    assert orders.instances == before


@pytest.mark.parametrize(
    ("deleted", "message", "left"),
    [
        (GONE, "The resource that the request may have left behind was deleted", 0),
        (
            respond(202, {"operation": "o"}),
            "The resource that the request may have left behind was deleted",
            0,
        ),
    ],
)
def test_failed_provision_reports_orphan_mitigation(
    fake: FakeBroker, runner: CommandRunner, deleted: Any, message: str, left: int
) -> None:
    fake.script(catalog_response(), respond(500), deleted, GONE)
    assert message in runner.error("provision", "mail", "post", "orders")
    assert len(runner.instances) == left


def test_orphan_mitigation_wait_shows_the_reason(fake: FakeBroker, runner: CommandRunner) -> None:
    fake.script(catalog_response(), respond(500), respond(503, {"description": "Busy."}), respond(200))
    lines = runner.error("provision", "mail", "post", "orders").splitlines()
    assert lines[0].startswith("Cannot clean up orders yet (503 ")
    assert "Busy." in lines[0]
    assert lines[2].startswith("The resource that the request may have left behind was deleted")


def test_undeletable_orphan_stays_in_state_file(
    fake: FakeBroker, runner: CommandRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("brokerkit.cli.options.MITIGATE_FOR", 0.01)
    fake.script(catalog_response(), respond(201, b"[]"), respond(400))
    message = runner.error("provision", "mail", "post", "orders")
    assert "the service broker returned an invalid response: the body is not a JSON object" in message
    assert "could not be deleted" in message
    assert "orders may still exist. To delete it: brokerkit deprovision orders" in message
    assert runner.instances["orders"].state == "failed"


def test_update_without_response_stays_in_progress(fake: FakeBroker, orders: CommandRunner) -> None:
    fake.script(catalog_response(), close_connection)
    message = orders.error("update", "orders", "-p", "a=1")
    assert "no response" in message
    assert "The outcome is unknown. To check it: brokerkit poll orders" in message
    assert orders.instances["orders"].state == "updating"


@pytest.mark.parametrize("usable", [True, False])
def test_failed_update_sets_state_from_instance_usable(
    fake: FakeBroker, orders: CommandRunner, usable: bool
) -> None:
    fake.script(
        catalog_response(),
        respond(202, {"operation": "o"}),
        poll_response("failed", "The disk is full", instance_usable=usable),
    )
    assert orders.error_json("update", "orders", "--plan", "bird") == {
        "error": "OperationFailed",
        "description": "The disk is full",
        "status": 200,
    }
    assert orders.instances["orders"].state == ("ready" if usable else "failed")
    assert orders.instances["orders"].plan == "post"


def test_failed_operation_without_description_is_reported(fake: FakeBroker, orders: CommandRunner) -> None:
    fake.script(respond(202, {"operation": "o"}), poll_response("failed"))
    assert "no description" in orders.error("deprovision", "orders")


def test_polling_timeout_explains_how_to_continue(fake: FakeBroker, runner: CommandRunner) -> None:
    fake.script(catalog_response(), respond(202, {"operation": "o"}), poll_response("in progress"))
    message = runner.error("provision", "mail", "tin", "orders")
    assert "still in progress after 1 seconds" in message
    assert "Platforms stop polling now. To continue: brokerkit poll orders" in message
    fake.script(poll_response("succeeded"))
    assert runner.json("poll", "orders")["state"] == "ready"


def test_failed_poll_can_be_repeated(fake: FakeBroker, runner: CommandRunner) -> None:
    fake.script(
        catalog_response(), respond(202, {"operation": "o", "dashboard_url": "https://x"}), respond(400)
    )
    assert "To try again: brokerkit poll orders" in runner.error("provision", "mail", "post", "orders")
    fake.script(poll_response("succeeded"))
    assert runner.json("poll", "orders")["dashboard_url"] == "https://x"


def test_interrupted_polling_explains_how_to_continue(fake: FakeBroker, runner: CommandRunner) -> None:
    fake.script(catalog_response(), respond(202, {"operation": "o"}), press_ctrl_c)
    message = runner.error("provision", "mail", "post", "orders", code=130)
    assert message == (
        "Interrupted. The operation on orders continues at the service broker.\n"
        "To wait for it: brokerkit poll orders\n"
    )
    assert runner.instances["orders"].state == "creating"
    fake.script(poll_response("succeeded"))
    assert "ready" in runner.output("poll", "orders")


def test_interrupted_provision_remains_in_state_file(fake: FakeBroker, runner: CommandRunner) -> None:
    fake.script(catalog_response(), press_ctrl_c)
    error = runner.error_json("provision", "mail", "post", "orders", code=130)
    assert error["error"] == "Interrupted"
    assert error["hints"] == [
        "To check the outcome: brokerkit poll orders",
        "To delete it: brokerkit deprovision orders",
    ]
    assert runner.instances["orders"].state == "creating"


def test_interrupt_before_any_change_prints_only_interrupted(fake: FakeBroker, runner: CommandRunner) -> None:
    fake.script(press_ctrl_c)
    assert runner.error("catalog", code=130) == "Interrupted.\n"


def test_poll_without_operation_shows_last_operation(fake: FakeBroker, orders: CommandRunner) -> None:
    fake.script(poll_response("succeeded", "All done"))
    assert orders.output("poll", "orders") == "The last operation of orders succeeded: All done\n"
    fake.script(poll_response("succeeded"))
    assert orders.json("poll", "orders", "b1") == {
        "name": "orders/b1",
        "state": "succeeded",
        "description": None,
    }
    fake.script(respond(404))
    assert "404" in orders.error("poll", "orders")


# Invalid commands


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (("provision", "nix", "post"), "the service broker has no offering nix; available: mail"),
        (("provision", "mail", "nix"), "mail has no plan nix; available: post, bird, tin"),
        (
            ("provision", "mail", "post", "orders"),
            "a service instance orders already exists; give another name",
        ),
        (("update", "nix", "-p", "a=1"), "the state file has no instance nix at http://127.0.0.1:"),
        (("update", "orders", "--plan", "nix"), "mail has no plan nix"),
        (("deprovision", "nix", "--offering", "mail"), "the state file has no instance nix"),
    ],
)
def test_unknown_names_are_errors(
    fake: FakeBroker, orders: CommandRunner, command: tuple[str, ...], message: str
) -> None:
    """The error lists the existing offerings or plans, and the command changes nothing."""
    fake.script(catalog_response())
    assert message in orders.error(*command)
    assert {request.method for request in fake.requests} <= {"GET"}


def test_duplicate_binding_name_is_rejected(fake: FakeBroker, orders: CommandRunner) -> None:
    fake.script(catalog_response(), respond(201, {"credentials": {}}))
    orders.run("bind", "orders", "shop")
    fake.script(catalog_response())
    assert "orders already has a binding shop" in orders.error("bind", "orders", "shop")


def test_empty_catalog_is_reported(fake: FakeBroker, runner: CommandRunner) -> None:
    fake.script(respond(200, {"services": []}))
    assert runner.run("catalog").stderr == "The catalog has no offerings.\n"
    assert "has no offering mail; available: none" in runner.error("provision", "mail", "post")


def test_instance_with_removed_plan_remains_usable(fake: FakeBroker, orders: CommandRunner) -> None:
    """Update of parameters, bind and credentials still work after the plan left the catalog."""
    other = ServiceOffering(
        id="x",
        name="x",
        description="X",
        bindable=True,
        plans=[ServicePlan(id="y", name="y", description="Y")],
    )
    fake.script(catalog_response(other))
    assert "no longer has the offering mail" in orders.error("update", "orders", "--plan", "bird")
    assert "no version to upgrade orders to" in orders.error("update", "orders", "--upgrade")
    fake.script(catalog_response(other), respond(200))
    orders.run("update", "orders", "-p", "a=1")
    assert fake.requests[-1].json["plan_id"] == "post-id"
    fake.script(catalog_response(other), respond(201, {"credentials": {"a": 1}}))
    orders.run("bind", "orders", "shop")
    assert orders.json("credentials", "orders")["credentials"] == {"a": 1}


def test_invalid_catalog_error_lists_all_places(fake: FakeBroker, runner: CommandRunner) -> None:
    fake.script(respond(200, {"services": [{"id": "x"}]}))
    message = runner.error("catalog")
    assert "services[0]" in message
    assert message.count("\n") == 1


def test_catalog_masks_secrets_and_prints_warnings(fake: FakeBroker, runner: CommandRunner) -> None:
    client = DashboardClient(id="c", secret="hush", redirect_uri="https://x")
    plan = ServicePlan(id="p", name="p q", description="P")
    offering = ServiceOffering(
        id="s", name="s", description="S", bindable=False, dashboard_client=client, plans=[plan]
    )
    with pytest.warns(UserWarning, match="name"):
        fake.script(catalog_response(offering, MAIL))
    document = runner.json("catalog")
    assert document["services"][0]["dashboard_client"]["secret"] == "***"
    assert document["services"][1]["name"] == "mail"
    assert "Warning: services[0].plans[0].name" in runner.run("catalog").stderr


def test_refused_connection_is_reported(runner: CommandRunner) -> None:
    runner.env["BROKER_URL"] = f"http://127.0.0.1:{free_port()}"
    assert "no connection: Connection refused" in runner.error("catalog")


def test_unsent_request_leaves_state_unchanged(fake: FakeBroker, orders: CommandRunner) -> None:
    before = orders.instances
    fake.script(respond(200))
    url, orders.env["BROKER_URL"] = orders.url, f"http://127.0.0.1:{free_port()}"
    orders.state_file.add(orders.url, before["orders"])
    orders.error("deprovision", "orders")
    assert orders.instances["orders"] == before["orders"]
    assert url != orders.url


def test_verbose_shows_requests_and_curl_commands(fake: FakeBroker, runner: CommandRunner) -> None:
    """Verbose output shows requests, responses and curl commands, with secret parameters masked."""
    fake.script(catalog_response(), respond(201))
    output = runner.run("provision", "mail", "post", "-p", "password=hush", "-v").stderr
    assert "> PUT /0/v2/service_instances/" in output
    assert "< 201 {}" in output
    assert 'curl -i -X PUT -u "$BROKER_USERNAME:$BROKER_PASSWORD"' in output
    assert "hush" not in output


def test_verbose_hides_credentials(fake: FakeBroker, orders: CommandRunner) -> None:
    fake.script(catalog_response(), respond(201, {"credentials": {"uri": "hush"}}))
    result = orders.run("bind", "orders", "-v")
    assert "hush" in result.stdout
    assert "/service_bindings/" in result.stderr
    assert "hush" not in result.stderr
