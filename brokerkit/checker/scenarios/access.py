"""Requests that need no service instance: versions, credentials, identities, the catalog and unknown ids."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator
from itertools import islice

from ...client import endpoints
from ...client.endpoints import APIRequest
from ...client.exchange import Exchange
from ...client.platforms import cloudfoundry
from ..resource_tracker import Resource
from ..scenario import APP_FIELDS, Scenario
from ..session import Headers, new_binding, new_instance
from ..situations import Situation
from .headers import IDENTITY, MALFORMED

_VERSION = "X-Broker-API-Version"
_FEW_ENDPOINTS, _TWO_ENDPOINTS = 4, 2
"""The number of endpoints for headers that brokers check in one place. Others are tried on all."""


class Access(Scenario):
    """Scenario for headers, authentication and requests for unknown resources."""

    def run(self, catalog: Exchange) -> None:
        """Run the scenario.

        Args:
            catalog: The catalog response.
        """
        self._versions()
        self._logins()
        self._identities()
        self._catalog(catalog)
        self._unknown_resources()

    def _requests(self) -> Iterator[tuple[str, APIRequest, Resource | None]]:
        """Yield one request for each endpoint that the broker must have. The requests are valid."""
        target, created, unknown = self.target, new_instance(), new_instance()
        unknown_binding = new_binding(unknown)
        yield "a catalog request", endpoints.catalog(), None
        yield "a provision request", self.provision(created, target.create.minimal), created
        yield "a poll request", self.poll(unknown, None), None
        yield "a deprovision request", self.delete(unknown), None
        if target.takes_updates:
            yield "an update request", self.update(unknown, parameters=target.update.first), None
        if target.instances_retrievable:
            yield "a fetch request", self.fetch(unknown), None
        if target.bindable:
            yield "a bind request", self.bind(unknown_binding, target.bind.minimal), unknown_binding
            yield "an unbind request", self.delete(unknown_binding), None
        if target.bindable and target.bindings_retrievable:
            yield "a fetch request for a service binding", self.fetch(unknown_binding), None
            yield "a poll request for a service binding", self.poll(unknown_binding, None), None

    def _send_to_endpoints(self, situation: Situation, headers: Headers, most: int | None = None) -> None:
        for what, request, resource in islice(self._requests(), most):
            response = self.request(situation, request, resource=resource, headers=headers, what=what)
            if resource is not None:
                self.delete_if_accepted(resource, response)

    def _versions(self) -> None:
        self._send_to_endpoints(Situation.VERSION_MISSING, {_VERSION: None})
        self._send_to_endpoints(Situation.VERSION_MALFORMED, {_VERSION: "two"}, _FEW_ENDPOINTS)
        self._send_to_endpoints(Situation.VERSION_OF_OTHER_MAJOR, {_VERSION: "3.0"}, _FEW_ENDPOINTS)
        self.request(Situation.VERSION_LATER, endpoints.catalog(), headers={_VERSION: "2.99"})
        self.request(Situation.VERSION_OLD, endpoints.catalog(), headers={_VERSION: "2.0"})

    def _logins(self) -> None:
        login = self.session.transport.login
        if login.header is None:
            self.skip(
                "the check has no credentials",
                Situation.LOGIN_MISSING,
                Situation.LOGIN_WRONG,
                Situation.LOGIN_MISSING_IN_INVALID_REQUEST,
            )
            return
        self._send_to_endpoints(Situation.LOGIN_MISSING, {"Authorization": None})
        for number, wrong in enumerate(_wrong_logins(login.header)):
            self._send_to_endpoints(
                Situation.LOGIN_WRONG, {"Authorization": wrong}, _TWO_ENDPOINTS if number else None
            )
        resource = new_instance()
        request = self.provision(resource, None)._replace(body=b"{")
        headers = {"Authorization": None, _VERSION: None, IDENTITY: "§".encode().decode("latin-1")}
        self.request(Situation.LOGIN_MISSING_IN_INVALID_REQUEST, request, resource=resource, headers=headers)

    def _identities(self) -> None:
        for what, identity in MALFORMED.items():
            for _, request, resource in islice(self._requests(), _TWO_ENDPOINTS):
                headers = {IDENTITY: identity}
                self.request(
                    Situation.IDENTITY_MALFORMED, request, resource=resource, headers=headers, what=what
                )
        anyone = f"brokerkit {b64encode(b'{}').decode()}"
        self.request(Situation.IDENTITY_OF_ANY_PLATFORM, endpoints.catalog(), headers={IDENTITY: anyone})

    def _catalog(self, catalog: Exchange) -> None:
        platform = cloudfoundry()
        headers = {**platform.headers, IDENTITY: platform.originating_identity}
        self.request(Situation.CATALOG_AS_CLOUD_FOUNDRY, endpoints.catalog(), headers=headers)
        conditions = {
            condition: catalog.response_headers[validator]
            for validator, condition in (("etag", "If-None-Match"), ("last-modified", "If-Modified-Since"))
            if validator in catalog.response_headers
        }
        for condition, value in conditions.items():
            self.request(
                Situation.CATALOG_CONDITIONAL, endpoints.catalog(), headers={condition: value}, what=condition
            )
        if not conditions:
            self.skip("the catalog response has no ETag or Last-Modified", Situation.CATALOG_CONDITIONAL)

    def _bind_unknown(self, binding: Resource) -> None:
        """Bind an unknown service instance; name an application only if the broker requires one."""
        for app in ({}, APP_FIELDS):
            request = self.bind(binding, self.target.bind.minimal, **app)
            bound = self.send(request, binding)
            if bound.error_code != "RequiresApp":
                break
        generated = bool(app) or self.target.bind.minimal_is_generated
        self.record(Situation.UNKNOWN_BOUND, request, bound, generated=generated)

    def _unknown_resources(self) -> None:
        """Send requests for an unknown service instance."""
        instance = new_instance()
        binding = new_binding(instance)
        if self.target.instances_retrievable:
            self.request(Situation.UNKNOWN_FETCHED, self.fetch(instance))
        else:
            self.skip("service instances are not retrievable", Situation.UNKNOWN_FETCHED)
        self.request(Situation.UNKNOWN_POLLED, self.poll(instance, None))
        if self.target.takes_updates:
            update = self.update(instance, parameters=self.target.update.first)
            self.request(Situation.UNKNOWN_UPDATED, update)
        else:
            self.skip("the plan does not support updates", Situation.UNKNOWN_UPDATED)
        self.request(Situation.UNKNOWN_DEPROVISIONED, self.delete(instance), resource=instance)
        if self.target.bindable:
            self._bind_unknown(binding)
        else:
            self.skip("the plan is not bindable", Situation.UNKNOWN_BOUND)


def _wrong_logins(right: str) -> list[str]:
    scheme = right.partition(" ")[0]
    pairs = (b"brokerkit:wrong", b"brokerkit:", b":") if scheme == "Basic" else (b"brokerkit:wrong",)
    wrong = [*(f"Basic {b64encode(pair).decode()}" for pair in pairs), "Bearer wrong"]
    if scheme == "Basic":
        wrong.append("Basic %%%")
    return [header for header in wrong if header != right]
