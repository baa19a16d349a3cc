"""Platforms that a client can act as: Cloud Foundry, Korifi and Kubernetes.

Each determines the API version, headers, identity and context that a broker receives.
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
    """A platform and one of its users.

    Args:
        name: The platform's name in ``X-Broker-API-Originating-Identity`` and `context`. Defaults to None,
            for a platform that sends neither.
        api_version: The version of the API (R-REQ-1). Defaults to 2.17.
        user: The user's properties in the originating identity (R-REQ-3). Defaults to none.
        organization_guid: The organization of the service instances.
        space_guid: The space of the service instances.
        context: The fields of `context` besides `platform`. Defaults to none.
        instance_context: Fields to add to the context of a provision. Defaults to none.
        headers: Headers to add to each request (R-REQ-5). None omits a header that is sent by default.
        nulls: Body fields to send as null if they have no value (R-REQ-10). Defaults to none.
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
        """The header ``X-Broker-API-Originating-Identity``; None for a platform without users."""
        if self.name is None or not self.user:
            return None
        return f"{self.name} {b64encode(json.dumps(self.user).encode()).decode()}"

    @property
    def full_context(self) -> dict[str, Any]:
        """The `context` of a body; empty for a platform without a name."""
        return {} if self.name is None else {"platform": self.name, **self.context}


def cloudfoundry(
    user_id: str = "d4444444-0000-4000-8000-000000000004",
    *,
    organization_guid: str = ORGANIZATION,
    space_guid: str = SPACE,
    instance_name: str = "brokerkit",
) -> Platform:
    """Act as the Cloud Controller of Cloud Foundry, which sends API version 2.15.

    Args:
        user_id: The id of the user.
        organization_guid: The organization of the service instances.
        space_guid: The space of the service instances.
        instance_name: The user's name for the service instance.
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
    """Act as Korifi, which sends no identity and no context, and a content type with every request.

    Args:
        organization_guid: The organization of the service instances.
        space_guid: The space of the service instances.
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
    """Act as the Service Catalog of Kubernetes, which sends API version 2.14.

    The cluster is sent as the organization, and the namespace as the space.

    Args:
        username: The name of the user.
        uid: The id of the user.
        groups: The groups of the user.
        extra: Further properties of the user from its authentication. Defaults to none.
        namespace: The namespace of the service instances.
        namespace_uid: The id of the namespace.
        cluster_id: The id of the cluster.
        instance_name: The user's name for the service instance.
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
"""The known platforms by name."""
