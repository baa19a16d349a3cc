"""Tests of the platforms' identities and contexts, and of requests that are modified before sending."""

from __future__ import annotations

import json
from base64 import b64decode

import pytest

from brokerkit.client import endpoints
from brokerkit.client.endpoints import APIRequest
from brokerkit.client.platforms import ORGANIZATION, SPACE, Platform, cloudfoundry, korifi, kubernetes
from brokerkit.requests import Operation


@pytest.mark.parametrize(
    ("platform", "name", "version"),
    [
        (cloudfoundry(), "cloudfoundry", "2.15"),
        (korifi(), None, "2.17"),
        (kubernetes(), "kubernetes", "2.14"),
        (Platform(), None, "2.17"),
    ],
)
def test_platform_sets_identity_and_api_version(platform: Platform, name: str | None, version: str) -> None:
    assert platform.api_version == version
    assert platform.full_context.get("platform") == name
    assert (platform.originating_identity is None) == (name is None)


@pytest.mark.rule("R-REQ-3")
def test_originating_identity_encodes_user_attributes() -> None:
    """The header is the platform's name and the base64 of the user's JSON object."""
    name, _, encoded = (kubernetes("ann", uid="7", groups=("a", "b")).originating_identity or "").partition(
        " "
    )
    assert name == "kubernetes"
    assert json.loads(b64decode(encoded)) == {
        "username": "ann",
        "uid": "7",
        "groups": ["a", "b"],
        "extra": {},
    }


def test_platform_without_user_sends_no_identity() -> None:
    assert Platform(name="other").originating_identity is None
    assert Platform(name="other").full_context == {"platform": "other"}


def test_platform_location_is_in_the_context() -> None:
    """The organization, the space or the namespace also appears in the context."""
    platform = cloudfoundry("u", organization_guid="o", space_guid="s", instance_name="db")
    assert (platform.organization_guid, platform.space_guid) == ("o", "s")
    assert platform.full_context["organization_guid"] == "o"
    assert platform.full_context["space_guid"] == "s"
    assert platform.instance_context["instance_name"] == "db"
    cluster = kubernetes(namespace="n", namespace_uid="nu", cluster_id="c", instance_name="db")
    assert (cluster.organization_guid, cluster.space_guid) == ("c", "nu")
    assert cluster.full_context == {"platform": "kubernetes", "namespace": "n", "clusterid": "c"}
    assert cluster.instance_context == {"instance_name": "db"}
    assert (korifi().organization_guid, korifi().space_guid) == (ORGANIZATION, SPACE)


def test_platforms_share_no_mutable_state() -> None:
    cloudfoundry().context["a"] = 1
    assert "a" not in cloudfoundry().context
    Platform().headers["X-A"] = "1"
    assert Platform().headers == {}


# Requests that are modified before sending


def test_request_body_and_query_can_be_modified() -> None:
    """A modified copy leaves the original request unchanged."""
    request = endpoints.provision("i1", can_poll=True, service_id="s", plan_id="p", context=None)
    assert request.body == {"service_id": "s", "plan_id": "p"}
    assert request.with_body(plan_id=None, unknown=1).body == {
        "service_id": "s",
        "plan_id": None,
        "unknown": 1,
    }
    assert request.without_field("plan_id", "accepts_incomplete") == APIRequest(
        Operation.PROVISION, "PUT", "/v2/service_instances/i1", (), {"service_id": "s"}
    )
    assert request.body == {"service_id": "s", "plan_id": "p"}, "the original request must not change"


def test_request_body_bytes_are_sent_unchanged() -> None:
    request = endpoints.update("i1", can_poll=False)._replace(body=b"{")
    assert request.data == b"{"
    assert request.without_field("service_id").data == b"{"
    assert endpoints.catalog().data is None


def test_request_path_and_query_are_encoded() -> None:
    request = endpoints.poll("i/1", None, operation="a b&c/ü")
    assert request.target == "/v2/service_instances/i%2F1/last_operation?operation=a%20b%26c%2F%C3%BC"
