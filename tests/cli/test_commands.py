"""Ordering by hand: what the commands send to a broker, print, and say of what goes wrong."""

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
from .conftest import MAIL, Person, offers, polled

REFUSED = respond(400, {"error": "QuotaExceeded", "description": "No more\x1b[2J letters."})
GONE = respond(410)


def press_ctrl_c(handler: BaseHTTPRequestHandler) -> None:
    """Let the person press Ctrl-C while the broker is asked."""
    main = threading.main_thread().ident
    assert main is not None
    signal.pthread_kill(main, signal.SIGINT)


# A real broker, from the catalog to the end


def test_catalog_lists_plans_as_table(real: Person) -> None:
    lines = real.told("catalog").splitlines()
    assert lines[0].split() == [
        "offering", "plan", "description", "free", "bindable", "updateable", "version",
    ]  # fmt: skip
    assert lines[1].split() == ["db", "small", "A", "small", "one", "yes", "yes", "yes", "1.0.0"]
    assert len(lines) == 7


def test_lifecycle_works_by_instance_name(real: Person) -> None:
    """An instance is provisioned, bound, updated, unbound and deprovisioned by name."""
    assert "ready" in real.told("provision", "db", "small", "orders", "-p", "size=3")
    bound = real.told_json("bind", "orders", "shop")
    assert bound["credentials"]["api_key"] == "k3y"
    assert real.told_json("credentials", "orders") == bound | {"state": "ready"}
    assert real.told_json("services")[0]["bindings"] == [
        {"name": "shop", "binding_id": bound["binding_id"], "state": "ready"}
    ]
    assert real.told("update", "orders", "--plan", "large").split()[7] == "large"
    assert real.told("unbind", "orders", "shop") == "shop is deleted.\n"
    assert real.told("deprovision", "orders") == "orders is deleted.\n"
    assert real.known == {}


def test_asynchronous_provision_prints_each_progress_change(real: Person, pace: Any) -> None:
    pace.go.set()
    result = real.run("provision", "db", "large", "orders")
    lines = result.stderr.splitlines()
    assert "\x1b" not in result.output, "the broker's words are escaped"
    assert set(lines[:-1]) <= {
        "Making orders: in progress",
        "Making orders: Making a volume\\x1b[2J",
        "Making orders: Starting the server",
    }
    assert lines[-1] == "Making orders: succeeded"
    assert real.known["orders"].state == "ready"


def test_no_wait_operation_is_polled_later(real: Person, pace: Any) -> None:
    result = real.run("provision", "db", "large", "my orders", "--no-wait")
    assert "creating" in result.stdout
    assert result.stderr == "It goes on at the service broker: brokerkit poll 'my orders'\n"
    assert real.known["my orders"].state == "creating"
    pace.go.set()
    assert real.told_json("poll", "my orders")["state"] == "ready"
    assert real.known["my orders"].state == "ready"


def test_failed_provision_can_be_deprovisioned(real: Person) -> None:
    told = real.refusal("provision", "db", "tiny", "orders")
    assert "Error: the operation failed: There is no room." in told
    assert "'brokerkit deprovision orders' deletes what is left of it." in told
    assert real.known["orders"].state == "failed"
    assert real.told("deprovision", "orders") == "orders is deleted.\n"


@pytest.mark.parametrize("platform", ["cloudfoundry", "korifi", "kubernetes"])
def test_lifecycle_works_for_each_platform(real: Person, platform: str) -> None:
    asking = ("--platform", platform)
    real.run("provision", "db", "small", "orders", *asking)
    real.run("update", "orders", "--plan", "large", "-p", "size=3", *asking)
    real.run("bind", "orders", "shop", *asking)
    real.run("deprovision", "orders", "--yes", *asking)
    assert real.known == {}


# What is sent


def test_provision_sends_cloud_foundry_fields(fake: FakeBroker, person: Person) -> None:
    fake.script(offers(), respond(201))
    person.run("provision", "mail-id", "post-id", "orders", "--platform", "cloudfoundry")
    body = fake.requests[1].json
    assert (body["service_id"], body["plan_id"]) == ("mail-id", "post-id")
    assert body["maintenance_info"] == {"version": "1.0.0"}
    assert body["context"]["instance_name"] == "orders"
    assert "parameters" not in body


def test_update_sends_cloud_foundry_previous_values(fake: FakeBroker, orders: Person) -> None:
    fake.script(offers(), respond(200))
    orders.run("update", "orders", "--plan", "bird", "-p", "a=1", "--platform", "cloudfoundry")
    body = fake.requests[1].json
    assert body["plan_id"] == "bird-id"
    assert body["maintenance_info"] == {"version": "2.0.0"}
    assert body["previous_values"]["plan_id"] == "post-id"
    assert body["previous_values"]["maintenance_info"] == {"version": "1.0.0"}
    assert body["previous_values"].keys() >= {"service_id", "organization_id", "space_id"}
    assert body["context"]["instance_name"] == "orders"
    known = orders.known["orders"]
    assert (known.plan, known.plan_id, known.version) == ("bird", "bird-id", "2.0.0")


def test_update_of_parameters_keeps_plan_and_version(fake: FakeBroker, orders: Person) -> None:
    fake.script(offers(), respond(200, {"dashboard_url": "https://mail.example.org/o"}))
    assert "https://mail.example.org/o" in orders.told("update", "orders", "-c", '{"a": {"b": 1}}')
    body = fake.requests[1].json
    assert body["plan_id"] == "post-id"
    assert "maintenance_info" not in body
    assert "context" not in body


def test_upgrade_sends_catalog_maintenance_version(fake: FakeBroker, orders: Person) -> None:
    fake.script(offers(), respond(200))
    orders.run("update", "orders", "--upgrade")
    assert fake.requests[1].json["maintenance_info"] == {"version": "1.0.0"}


@pytest.mark.rule("R-UPD-6")
def test_update_poll_sends_the_previous_plan(fake: FakeBroker, orders: Person) -> None:
    fake.script(offers(), respond(202, {"operation": "job 7"}), polled("in progress"), polled("succeeded"))
    orders.run("update", "orders", "--plan", "bird")
    assert fake.requests[2].query == {"service_id": "mail-id", "plan_id": "post-id", "operation": "job 7"}
    assert orders.known["orders"].plan == "bird"


def test_bind_sends_app_and_predecessor(fake: FakeBroker, orders: Person) -> None:
    fake.script(offers(), respond(201, {"credentials": {"uri": "x"}}))
    first = orders.told_json("bind", "orders")
    fake.script(offers(), respond(201, {"credentials": {"uri": "y"}}))
    fake.requests.clear()
    orders.run("bind", "orders", "--rotate", first["name"], "--app", "app-1", "-p", "a=1")
    body = fake.requests[1].json
    assert body["predecessor_binding_id"] == first["binding_id"]
    assert body["bind_resource"] == {"app_guid": "app-1"}
    assert body["parameters"] == {"a": 1}


def test_resource_ids_can_be_chosen(fake: FakeBroker, person: Person) -> None:
    fake.script(offers(), respond(201))
    person.run("provision", "mail", "post", "--id", "i1")
    fake.script(offers(), respond(201, {"credentials": {}}))
    person.run("bind", "i1", "shop", "--id", "b1")
    assert [asked.path for asked in fake.requests if asked.method == "PUT"] == [
        "/v2/service_instances/i1",
        "/v2/service_instances/i1/service_bindings/b1",
    ]


def test_instance_name_is_generated_by_default(fake: FakeBroker, person: Person) -> None:
    fake.script(offers(), respond(201))
    made = person.told_json("provision", "mail", "post")
    assert made["name"] in person.known
    assert made["instance_id"] != made["name"]


def test_deprovision_accepts_unknown_instance_id(fake: FakeBroker, person: Person) -> None:
    """An instance that was created elsewhere is deleted by its id and not stored."""
    fake.script(offers(), respond(200))
    assert person.told("deprovision", "i1", "--service", "mail", "--plan", "post") == "i1 is deleted.\n"
    assert fake.requests[1].path == "/v2/service_instances/i1"
    assert person.known == {}


def test_update_of_unknown_instance_is_stored_temporarily(fake: FakeBroker, person: Person) -> None:
    """An instance that was created elsewhere stays in the state file only while its update is in progress."""
    fake.script(offers(), respond(202, {"operation": "o"}))
    asked = ("--service", "mail", "--current-plan", "post")
    told = person.run("update", "i1", "--plan", "bird", "--no-wait", *asked)
    assert "brokerkit poll i1 --service mail --plan post" in told.stderr
    assert person.known["i1"].state == "updating"
    fake.script(polled("succeeded"))
    assert person.told_json("poll", "i1")["plan"] == "bird"
    assert person.known == {}


def test_binding_of_unknown_instance_is_stored(fake: FakeBroker, person: Person) -> None:
    someone = ("--service", "mail", "--plan", "post")
    fake.script(offers(), respond(201, {"credentials": {"uri": "x"}}))
    person.run("bind", "i1", "shop", *someone)
    assert person.known["i1"].bindings
    fake.script(respond(200))
    person.run("unbind", "i1", "shop")
    assert person.known == {}


def test_unbind_accepts_unknown_binding_id(fake: FakeBroker, orders: Person) -> None:
    fake.script(respond(200))
    orders.run("unbind", "orders", "b9")
    assert fake.requests[0].path.endswith("/service_bindings/b9")
    assert orders.known["orders"].bindings == {}


# Credentials


def test_unfetchable_credentials_are_stored(fake: FakeBroker, orders: Person) -> None:
    """If the offering is not `bindings_retrievable`, the credentials are kept in the state file."""
    document = {"credentials": {"api_key": "k", "port": 1}, "syslog_drain_url": "syslog://x"}
    offering = {"services": [{**json.loads(_plain(MAIL)), "requires": ["syslog_drain"]}]}
    fake.script(respond(200, offering), respond(201, document))
    orders.run("bind", "orders", "shop")
    fake.requests.clear()
    told = orders.told("credentials", "orders", "shop")
    assert [line.split() for line in told.splitlines()[4:]] == [
        ["state", "ready"], [], ["api_key", "k"], ["port", "1"], [], ["syslog", "drain", "url", "syslog://x"],
    ]  # fmt: skip
    assert fake.requests == []
    assert "'k'" not in repr(orders.known)


def _plain(offering: ServiceOffering) -> bytes:
    import msgspec

    return msgspec.json.encode(offering)


def test_fetchable_credentials_are_not_stored(real: Person) -> None:
    real.run("provision", "db", "small", "orders")
    real.run("bind", "orders")
    assert "k3y" not in real.memory.path.read_text()


def test_asynchronous_bind_fetches_credentials_when_done(fake: FakeBroker, orders: Person) -> None:
    fake.script(
        offers(),
        respond(202, {"operation": "o"}),
        polled("succeeded"),
        respond(200, {"credentials": {"a": 1}}),
    )
    assert orders.told_json("bind", "orders")["credentials"] == {"a": 1}
    assert fake.requests[3].method == "GET"


def test_poll_of_bind_shows_no_credentials(fake: FakeBroker, orders: Person) -> None:
    fake.script(offers(), respond(202, {"operation": "o"}))
    waiting = orders.told_json("bind", "orders", "shop", "--no-wait")
    assert (waiting["state"], waiting.get("credentials")) == ("creating", None)
    fake.script(polled("succeeded"), respond(200, {"credentials": {"a": "hidden"}}))
    assert "hidden" not in orders.told("poll", "orders", "shop")
    assert orders.known["orders"].bindings[waiting["binding_id"]].state == "ready"


def test_failed_credentials_fetch_keeps_the_binding(fake: FakeBroker, orders: Person) -> None:
    fake.script(offers(), respond(202, {"operation": "o"}), polled("succeeded"), respond(404))
    told = orders.refusal("bind", "orders", "shop")
    assert "'brokerkit credentials orders shop' tries again" in told
    assert orders.known["orders"].binding("shop") is not None
    assert "404" in orders.refusal("credentials", "orders")


@pytest.mark.parametrize("number", [0, 2])
def test_credentials_requires_binding_name_if_ambiguous(
    fake: FakeBroker, orders: Person, number: int
) -> None:
    for name in ("one", "two")[:number]:
        fake.script(offers(), respond(201, {"credentials": {}}))
        orders.run("bind", "orders", name)
    told = orders.refusal("credentials", "orders")
    assert ("say which: one, two" if number else "has no bindings") in told


# Deleting


def test_deprovision_yes_deletes_bindings_first(fake: FakeBroker, orders: Person) -> None:
    fake.script(offers(), respond(201, {"credentials": {}}))
    orders.run("bind", "orders", "shop")
    assert "has bindings (shop); unbind them, or give --yes" in orders.refusal("deprovision", "orders")
    fake.script(respond(200))
    fake.requests.clear()
    assert orders.run("deprovision", "orders", "--yes").stderr == "orders/shop is deleted.\n"
    assert [asked.method for asked in fake.requests] == ["DELETE", "DELETE"]
    assert orders.known == {}


@pytest.mark.parametrize(("typed", "code", "left"), [("y\n", 0, 0), ("n\n", 1, 1)])
def test_deprovision_asks_before_deleting_bindings(
    fake: FakeBroker, orders: Person, monkeypatch: pytest.MonkeyPatch, typed: str, code: int, left: int
) -> None:
    fake.script(offers(), respond(201, {"credentials": {}}))
    orders.run("bind", "orders", "shop")
    monkeypatch.setattr("brokerkit.cli.instances.can_prompt", lambda: True)
    fake.script(respond(200))
    assert "Delete them too?" in orders.run("deprovision", "orders", code=code, typing=typed).stderr
    assert len(orders.known) == left


def test_no_wait_deprovision_is_polled_later(fake: FakeBroker, orders: Person) -> None:
    fake.script(respond(202, {"operation": "o"}))
    assert orders.told_json("deprovision", "orders", "--no-wait")["state"] == "deleting"
    fake.script(polled("in progress"), GONE)
    assert orders.told_json("poll", "orders")["state"] == "deleted"
    assert orders.known == {}


def test_no_wait_unbind_is_polled_later(fake: FakeBroker, orders: Person) -> None:
    fake.script(offers(), respond(201, {"credentials": {}}))
    orders.run("bind", "orders", "shop")
    fake.script(respond(202, {"operation": "o"}))
    assert orders.told_json("unbind", "orders", "shop", "--no-wait")["state"] == "deleting"
    fake.script(GONE)
    assert orders.told("poll", "orders", "shop") == "shop is deleted.\n"
    assert orders.known["orders"].bindings == {}


# What goes wrong


def test_refusal_is_one_line_with_description(fake: FakeBroker, person: Person) -> None:
    fake.script(offers(), REFUSED)
    told = person.refusal("provision", "mail", "post", "orders")
    assert told == "Error: the service broker returned 400 QuotaExceeded: No more\\x1b[2J letters.\n"
    assert person.known == {}


def test_refusal_can_be_printed_as_json(fake: FakeBroker, person: Person) -> None:
    fake.script(offers(), respond(422, {"error": "AsyncRequired", "description": "Too slow."}))
    assert person.refusal_json("provision", "mail", "post") == {
        "error": "AsyncRequired",
        "description": "Too slow.",
        "status": 422,
    }


@pytest.mark.parametrize("command", [("update", "orders", "-p", "a=1"), ("deprovision", "orders")])
def test_refusal_leaves_instance_state_unchanged(
    fake: FakeBroker, orders: Person, command: tuple[str, ...]
) -> None:
    before = orders.known
    fake.script(*([offers()] if "update" in command else []), REFUSED)
    orders.refusal(*command)
    assert orders.known == before


@pytest.mark.parametrize(
    ("deleted", "told", "left"),
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
    fake: FakeBroker, person: Person, deleted: Any, told: str, left: int
) -> None:
    fake.script(offers(), respond(500), deleted, GONE)
    assert told in person.refusal("provision", "mail", "post", "orders")
    assert len(person.known) == left


def test_orphan_mitigation_wait_shows_the_reason(fake: FakeBroker, person: Person) -> None:
    fake.script(offers(), respond(500), respond(503, {"description": "Busy."}), respond(200))
    told = person.refusal("provision", "mail", "post", "orders").splitlines()
    assert told[0].startswith("Cannot clean up orders yet (503 ")
    assert "Busy." in told[0]
    assert told[2].startswith("The resource that the request may have left behind was deleted")


def test_undeletable_orphan_stays_in_state_file(
    fake: FakeBroker, person: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("brokerkit.cli.options.MITIGATE_FOR", 0.01)
    fake.script(offers(), respond(201, b"[]"), respond(400))
    told = person.refusal("provision", "mail", "post", "orders")
    assert "the service broker returned an invalid response: the body is not a JSON object" in told
    assert "could not be deleted" in told
    assert "'brokerkit deprovision orders' deletes what may be left of it." in told
    assert person.known["orders"].state == "failed"


def test_update_without_response_stays_in_progress(fake: FakeBroker, orders: Person) -> None:
    fake.script(offers(), close_connection)
    told = orders.refusal("update", "orders", "-p", "a=1")
    assert "no response" in told
    assert "Whether it was done is not known; 'brokerkit poll orders' asks." in told
    assert orders.known["orders"].state == "updating"


@pytest.mark.parametrize("usable", [True, False])
def test_failed_update_sets_state_from_instance_usable(
    fake: FakeBroker, orders: Person, usable: bool
) -> None:
    fake.script(
        offers(),
        respond(202, {"operation": "o"}),
        polled("failed", "The disk is full", instance_usable=usable),
    )
    assert orders.refusal_json("update", "orders", "--plan", "bird") == {
        "error": "OperationFailed",
        "description": "The disk is full",
        "status": 200,
    }
    assert orders.known["orders"].state == ("ready" if usable else "failed")
    assert orders.known["orders"].plan == "post"


def test_failed_operation_without_description_is_reported(fake: FakeBroker, orders: Person) -> None:
    fake.script(respond(202, {"operation": "o"}), polled("failed"))
    assert "no description" in orders.refusal("deprovision", "orders")


def test_polling_timeout_explains_how_to_continue(fake: FakeBroker, person: Person) -> None:
    fake.script(offers(), respond(202, {"operation": "o"}), polled("in progress"))
    told = person.refusal("provision", "mail", "tin", "orders")
    assert "still in progress after 1 seconds" in told
    assert "A platform gives up now; 'brokerkit poll orders' goes on asking." in told
    fake.script(polled("succeeded"))
    assert person.told_json("poll", "orders")["state"] == "ready"


def test_failed_poll_can_be_repeated(fake: FakeBroker, person: Person) -> None:
    fake.script(offers(), respond(202, {"operation": "o", "dashboard_url": "https://x"}), respond(400))
    assert "'brokerkit poll orders' asks again" in person.refusal("provision", "mail", "post", "orders")
    fake.script(polled("succeeded"))
    assert person.told_json("poll", "orders")["dashboard_url"] == "https://x"


def test_interrupted_polling_explains_how_to_continue(fake: FakeBroker, person: Person) -> None:
    fake.script(offers(), respond(202, {"operation": "o"}), press_ctrl_c)
    told = person.refusal("provision", "mail", "post", "orders", code=130)
    assert told == (
        "Interrupted; orders goes on at the service broker.\nCome back to it: brokerkit poll orders\n"
    )
    assert person.known["orders"].state == "creating"
    fake.script(polled("succeeded"))
    assert "ready" in person.told("poll", "orders")


def test_interrupted_provision_remains_in_state_file(fake: FakeBroker, person: Person) -> None:
    fake.script(offers(), press_ctrl_c)
    told = person.refusal_json("provision", "mail", "post", "orders", code=130)
    assert told["error"] == "Interrupted"
    assert "'brokerkit deprovision orders' deletes it." in told["hints"][0]
    assert person.known["orders"].state == "creating"


def test_interrupt_before_any_change_prints_only_interrupted(fake: FakeBroker, person: Person) -> None:
    fake.script(press_ctrl_c)
    assert person.refusal("catalog", code=130) == "Interrupted.\n"


def test_poll_without_operation_shows_last_operation(fake: FakeBroker, orders: Person) -> None:
    fake.script(polled("succeeded", "All done"))
    assert orders.told("poll", "orders") == "The last operation of orders succeeded: All done\n"
    fake.script(polled("succeeded"))
    assert orders.told_json("poll", "orders", "b1") == {
        "name": "orders/b1",
        "state": "succeeded",
        "description": None,
    }
    fake.script(respond(404))
    assert "404" in orders.refusal("poll", "orders")


# What cannot be asked for


@pytest.mark.parametrize(
    ("command", "told"),
    [
        (("provision", "nix", "post"), "does not offer nix; it has mail"),
        (("provision", "mail", "nix"), "mail has no plan nix; it has post, bird, tin"),
        (
            ("provision", "mail", "post", "orders"),
            "there is a service instance orders already; give another name",
        ),
        (("update", "nix", "-p", "a=1"), "nothing called nix was made at http://127.0.0.1:"),
        (("update", "orders", "--plan", "nix"), "mail has no plan nix"),
        (("deprovision", "nix", "--service", "mail"), "nothing called nix was made"),
    ],
)
def test_unknown_names_are_errors(
    fake: FakeBroker, orders: Person, command: tuple[str, ...], told: str
) -> None:
    """The error lists the existing offerings or plans, and the command changes nothing."""
    fake.script(offers())
    assert told in orders.refusal(*command)
    assert {asked.method for asked in fake.requests} <= {"GET"}


def test_duplicate_binding_name_is_rejected(fake: FakeBroker, orders: Person) -> None:
    fake.script(offers(), respond(201, {"credentials": {}}))
    orders.run("bind", "orders", "shop")
    fake.script(offers())
    assert "orders has a binding shop already" in orders.refusal("bind", "orders", "shop")


def test_empty_catalog_is_reported(fake: FakeBroker, person: Person) -> None:
    fake.script(respond(200, {"services": []}))
    assert person.run("catalog").stderr == "The catalog has no offerings.\n"
    assert "does not offer mail, nor anything else" in person.refusal("provision", "mail", "post")


def test_instance_with_removed_plan_remains_usable(fake: FakeBroker, orders: Person) -> None:
    """Update of parameters, bind and credentials still work after the plan left the catalog."""
    other = ServiceOffering(
        id="x",
        name="x",
        description="X",
        bindable=True,
        plans=[ServicePlan(id="y", name="y", description="Y")],
    )
    fake.script(offers(other))
    assert "offers mail no more" in orders.refusal("update", "orders", "--plan", "bird")
    assert "no version to upgrade orders to" in orders.refusal("update", "orders", "--upgrade")
    fake.script(offers(other), respond(200))
    orders.run("update", "orders", "-p", "a=1")
    assert fake.requests[-1].json["plan_id"] == "post-id"
    fake.script(offers(other), respond(201, {"credentials": {"a": 1}}))
    orders.run("bind", "orders", "shop")
    assert orders.told_json("credentials", "orders")["credentials"] == {"a": 1}


def test_invalid_catalog_error_lists_all_places(fake: FakeBroker, person: Person) -> None:
    fake.script(respond(200, {"services": [{"id": "x"}]}))
    told = person.refusal("catalog")
    assert "services[0]" in told
    assert told.count("\n") == 1


def test_catalog_masks_secrets_and_prints_warnings(fake: FakeBroker, person: Person) -> None:
    client = DashboardClient(id="c", secret="hush", redirect_uri="https://x")
    plan = ServicePlan(id="p", name="p q", description="P")
    offering = ServiceOffering(
        id="s", name="s", description="S", bindable=False, dashboard_client=client, plans=[plan]
    )
    with pytest.warns(UserWarning, match="name"):
        fake.script(offers(offering, MAIL))
    document = person.told_json("catalog")
    assert document["services"][0]["dashboard_client"]["secret"] == "***"
    assert document["services"][1]["name"] == "mail"
    assert "Warning: services[0].plans[0].name" in person.run("catalog").stderr


def test_refused_connection_is_reported(person: Person) -> None:
    person.env["BROKER_URL"] = f"http://127.0.0.1:{free_port()}"
    assert "no connection: Connection refused" in person.refusal("catalog")


def test_unsent_request_leaves_state_unchanged(fake: FakeBroker, orders: Person) -> None:
    before = orders.known
    fake.script(respond(200))
    url, orders.env["BROKER_URL"] = orders.url, f"http://127.0.0.1:{free_port()}"
    orders.memory.add(orders.url, before["orders"])
    orders.refusal("deprovision", "orders")
    assert orders.known["orders"] == before["orders"]
    assert url != orders.url


def test_verbose_shows_requests_and_curl_commands(fake: FakeBroker, person: Person) -> None:
    """Verbose output shows requests, responses and curl commands, with secret parameters masked."""
    fake.script(offers(), respond(201))
    told = person.run("provision", "mail", "post", "-p", "password=hush", "-v").stderr
    assert "> PUT /0/v2/service_instances/" in told
    assert "< 201 {}" in told
    assert 'curl -i -X PUT -u "$BROKER_USERNAME:$BROKER_PASSWORD"' in told
    assert "hush" not in told


def test_verbose_hides_credentials(fake: FakeBroker, orders: Person) -> None:
    fake.script(offers(), respond(201, {"credentials": {"uri": "hush"}}))
    result = orders.run("bind", "orders", "-v")
    assert "hush" in result.stdout
    assert "/service_bindings/" in result.stderr
    assert "hush" not in result.stderr
