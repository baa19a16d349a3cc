"""At the door: versions, logins, identities, and the catalog once more."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator
from itertools import islice

from ...client import endpoints as asking
from ...client.endpoints import APIRequest
from ...client.exchange import Exchange
from ...client.platforms import cloudfoundry
from ..resource_tracker import Resource
from ..scenario import FOR_AN_APP, Scenario
from ..session import Headers, new_binding, new_instance
from ..situations import Situation
from .headers import IDENTITY, MALFORMED

_VERSION = "X-Broker-API-Version"
_SOME, _FEW = 4, 2
"""On how many endpoints what is read in one place is tried; what is easily forgotten is tried on all."""


class Access(Scenario):
    """Asks who may come in, and how."""

    def run(self, catalog: Exchange) -> None:
        """Try every header, on several endpoints.

        Args:
            catalog: The catalog as it came.
        """
        self._versions()
        self._logins()
        self._identities()
        self._catalog(catalog)
        self._unknown()

    def _each(self) -> Iterator[tuple[str, APIRequest, Resource | None]]:
        """A request for each endpoint that the broker must have, which is right but for its headers."""
        target, made, nobody = self.target, new_instance(), new_instance()
        nothing = new_binding(nobody)
        yield "a request for the catalog", asking.catalog(), None
        yield "a provision", self.provision(made, target.create.least), made
        yield "a poll", self.poll(nobody, None), None
        yield "a delete", self.delete(nobody), None
        if target.takes_updates:
            yield "an update", self.update(nobody, parameters=target.change.first), None
        if target.instances_retrievable:
            yield "a fetch", self.fetch(nobody), None
        if target.bindable:
            yield "a bind", self.bind(nothing, target.bind.least), nothing
            yield "an unbind", self.delete(nothing), None
        if target.bindable and target.bindings_retrievable:
            yield "a fetch of a service binding", self.fetch(nothing), None
            yield "a poll of a service binding", self.poll(nothing, None), None

    def _try(self, situation: Situation, headers: Headers, most: int | None = None) -> None:
        for what, ask, resource in islice(self._each(), most):
            answer = self.request(situation, ask, resource=resource, headers=headers, what=what)
            if resource is not None:
                self.undo(resource, answer)

    def _versions(self) -> None:
        self._try(Situation.VERSION_MISSING, {_VERSION: None})
        self._try(Situation.VERSION_MALFORMED, {_VERSION: "two"}, _SOME)
        self._try(Situation.VERSION_OF_OTHER_MAJOR, {_VERSION: "3.0"}, _SOME)
        self.request(Situation.VERSION_LATER, asking.catalog(), headers={_VERSION: "2.99"})
        self.request(Situation.VERSION_OLD, asking.catalog(), headers={_VERSION: "2.0"})

    def _logins(self) -> None:
        login = self.session.transport.login
        if login.header is None:
            self.skip(
                "the check was given no login",
                Situation.LOGIN_MISSING,
                Situation.LOGIN_WRONG,
                Situation.LOGIN_MISSING_AND_ALL_ELSE_WRONG,
            )
            return
        self._try(Situation.LOGIN_MISSING, {"Authorization": None})
        for number, wrong in enumerate(_wrong_logins(login.header)):
            self._try(Situation.LOGIN_WRONG, {"Authorization": wrong}, _FEW if number else None)
        resource = new_instance()
        ask = self.provision(resource, None)._replace(body=b"{")
        headers = {"Authorization": None, _VERSION: None, IDENTITY: "§".encode().decode("latin-1")}
        self.request(Situation.LOGIN_MISSING_AND_ALL_ELSE_WRONG, ask, resource=resource, headers=headers)

    def _identities(self) -> None:
        for what, identity in MALFORMED.items():
            for _, ask, resource in islice(self._each(), _FEW):
                headers = {IDENTITY: identity}
                self.request(Situation.IDENTITY_MALFORMED, ask, resource=resource, headers=headers, what=what)
        anyone = f"brokerkit {b64encode(b'{}').decode()}"
        self.request(Situation.IDENTITY_OF_ANY_PLATFORM, asking.catalog(), headers={IDENTITY: anyone})

    def _catalog(self, catalog: Exchange) -> None:
        platform = cloudfoundry()
        headers = {**platform.headers, IDENTITY: platform.originating_identity}
        self.request(Situation.CATALOG_AS_CLOUD_FOUNDRY, asking.catalog(), headers=headers)
        known = {
            asked: catalog.response_headers[told]
            for told, asked in (("etag", "If-None-Match"), ("last-modified", "If-Modified-Since"))
            if told in catalog.response_headers
        }
        for asked, value in known.items():
            self.request(Situation.CATALOG_KNOWN, asking.catalog(), headers={asked: value}, what=asked)
        if not known:
            self.skip("the catalog carries no ETag or Last-Modified", Situation.CATALOG_KNOWN)

    def _bind_nothing(self, binding: Resource) -> None:
        """Bind what nobody made; for an application only if it has to be."""
        for app in ({}, FOR_AN_APP):
            ask = self.bind(binding, self.target.bind.least, **app)
            bound = self.send(ask, binding)
            if bound.error_code != "RequiresApp":
                break
        made_up = bool(app) or self.target.bind.least_is_made_up
        self.note(Situation.UNKNOWN_BOUND, ask, bound, made_up=made_up)

    def _unknown(self) -> None:
        """Ask for what nobody made."""
        nothing = new_instance()
        binding = new_binding(nothing)
        if self.target.instances_retrievable:
            self.request(Situation.UNKNOWN_FETCHED, self.fetch(nothing))
        else:
            self.skip("instances are not retrievable", Situation.UNKNOWN_FETCHED)
        self.request(Situation.UNKNOWN_POLLED, self.poll(nothing, None))
        if self.target.takes_updates:
            update = self.update(nothing, parameters=self.target.change.first)
            self.request(Situation.UNKNOWN_UPDATED, update)
        else:
            self.skip("the plan does not say that it can be updated", Situation.UNKNOWN_UPDATED)
        self.request(Situation.UNKNOWN_DEPROVISIONED, self.delete(nothing), resource=nothing)
        if self.target.bindable:
            self._bind_nothing(binding)
        else:
            self.skip("the plan is not bindable", Situation.UNKNOWN_BOUND)


def _wrong_logins(right: str) -> list[str]:
    scheme = right.partition(" ")[0]
    pairs = (b"brokerkit:wrong", b"brokerkit:", b":") if scheme == "Basic" else (b"brokerkit:wrong",)
    wrong = [*(f"Basic {b64encode(pair).decode()}" for pair in pairs), "Bearer wrong"]
    if scheme == "Basic":
        wrong.append("Basic %%%")
    return [each for each in wrong if each != right]
