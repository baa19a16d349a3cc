"""Who asks: what Cloud Foundry, Korifi and Kubernetes say of themselves and of their users.

For a :class:`~brokerkit.client.client.BrokerClient` that is to look like one of them to a broker.
"""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Callable, Mapping
from typing import Any

from msgspec import Struct, field

ORGANIZATION = "a1111111-0000-4000-8000-000000000001"
SPACE = "b2222222-0000-4000-8000-000000000002"


class Platform(Struct, frozen=True, kw_only=True):
    """A platform, and one of its users.

    Args:
        name: Its name, as in ``X-Broker-API-Originating-Identity`` and in `context`; None for one that says
            neither.
        api_version: The version of the API that it speaks (R-REQ-1).
        user: What it says of its user (R-REQ-3).
        organization_guid: The organization of what it orders.
        space_guid: The space of what it orders.
        context: What it says of the surroundings, but for its name.
        instance_context: What it says more when it orders a service instance.
        headers: What else it sends with every request (R-REQ-5); None leaves one out.
        nulls: Fields that it writes as null where it has nothing to say (R-REQ-10).
    """

    name: str | None = None
    api_version: str = "2.17"
    user: dict[str, Any] = field(default_factory=dict)
    organization_guid: str = ORGANIZATION
    space_guid: str = SPACE
    context: dict[str, Any] = field(default_factory=dict)
    instance_context: dict[str, Any] = field(default_factory=dict)
    headers: dict[str, str | None] = field(default_factory=dict)
    nulls: tuple[str, ...] = ()

    @property
    def originating_identity(self) -> str | None:
        """The header ``X-Broker-API-Originating-Identity``; None where it does not say whose wish it is."""
        if self.name is None or not self.user:
            return None
        return f"{self.name} {b64encode(json.dumps(self.user).encode()).decode()}"

    @property
    def full_context(self) -> dict[str, Any]:
        """The `context` of a body; empty where the platform has none."""
        return {} if self.name is None else {"platform": self.name, **self.context}


def cloudfoundry(
    user_id: str = "d4444444-0000-4000-8000-000000000004",
    *,
    organization_guid: str = ORGANIZATION,
    space_guid: str = SPACE,
    instance_name: str = "brokerkit",
) -> Platform:
    """Cloud Foundry's Cloud Controller, which sends 2.15.

    Args:
        user_id: The id of its user.
        organization_guid: The organization of what is ordered.
        space_guid: The space of what is ordered.
        instance_name: What the user calls it.
    """
    return Platform(
        name="cloudfoundry",
        api_version="2.15",
        user={"user_id": user_id},
        organization_guid=organization_guid,
        space_guid=space_guid,
        context={
            "organization_guid": organization_guid,
            "space_guid": space_guid,
            "organization_name": "shop",
            "space_name": "production",
            "organization_annotations": {},
            "space_annotations": {},
        },
        instance_context={"instance_name": instance_name, "instance_annotations": {}},
        headers={
            "X-Vcap-Request-Id": "f6666666-0000-4000-8000-000000000006::9d3c",
            "X-Api-Info-Location": "api.example.org/",
            "X-B3-TraceId": "4bf92f3577b34da6",
            "X-B3-SpanId": "4bf92f3577b34da6",
        },
    )


def korifi(*, organization_guid: str = ORGANIZATION, space_guid: str = SPACE) -> Platform:
    """Korifi, which says nothing of its users, sends no context, and names a content type always.

    Args:
        organization_guid: The organization of what is ordered.
        space_guid: The space of what is ordered.
    """
    return Platform(
        organization_guid=organization_guid,
        space_guid=space_guid,
        headers={"Content-Type": "application/json", "Accept": None, "X-Broker-API-Request-Identity": None},
        nulls=("parameters",),
    )


def kubernetes(
    username: str = "system:serviceaccount:shop:deployer",
    *,
    uid: str = "9a1b",
    groups: tuple[str, ...] = ("system:authenticated",),
    extra: dict[str, list[str]] | None = None,
    namespace: str = "shop",
    namespace_uid: str = "3f0d0f6e-0000-4000-8000-000000000007",
    cluster_id: str = "644e1dd7-2a7f-18fb-b8ed-ed78c3f92c2b",
    instance_name: str = "brokerkit",
) -> Platform:
    """The Service Catalog of Kubernetes: sends 2.14; its cluster and namespace are organization and space.

    Args:
        username: Its user.
        uid: The id of its user.
        groups: The groups of its user.
        extra: What else its authentication says of its user.
        namespace: Where things are ordered.
        namespace_uid: The id of that.
        cluster_id: The id of the cluster.
        instance_name: What the user calls what is ordered.
    """
    return Platform(
        name="kubernetes",
        api_version="2.14",
        user={"username": username, "uid": uid, "groups": list(groups), "extra": extra or {}},
        organization_guid=cluster_id,
        space_guid=namespace_uid,
        context={"namespace": namespace, "clusterid": cluster_id},
        instance_context={"instance_name": instance_name},
        headers={"User-Agent": "Go-http-client/1.1", "Accept": None, "X-Broker-API-Request-Identity": None},
    )


PLATFORMS: Mapping[str, Callable[[], Platform]] = {
    "cloudfoundry": cloudfoundry,
    "korifi": korifi,
    "kubernetes": kubernetes,
}
"""The platforms in the field, by their names."""
