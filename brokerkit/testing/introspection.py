"""Introspection of a Flask app: its brokers, the prefix of their paths, and a login that they accept."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from ..auth import BasicAuth, BearerAuth, NoAuth, first_token_of, plain_credentials_of
from ..broker import Broker, auth_of
from ..requests import Operation
from ..server.blueprint import BrokerBlueprint
from .types import Login

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

    from ..auth import Authenticator

_CATALOG = "/v2/catalog"


class UnknownBroker(LookupError):
    """An app that does not have exactly one broker."""


class UnknownLogin(LookupError):
    """A broker whose credentials cannot be read from its authenticator."""


def brokers_of(app: WSGIApplication) -> list[Broker]:
    """Return the brokers whose blueprints are registered in an app; none if it is not a Flask app."""
    brokers = [cast(Broker, blueprint.broker) for blueprint in _blueprints(app).values()]
    return list(dict.fromkeys(brokers))


def broker_of(app: WSGIApplication) -> Broker:
    """Return the only broker of an app.

    Raises:
        UnknownBroker: The app has no broker that uses brokerkit, or several.
    """
    brokers = brokers_of(app)
    if len(brokers) != 1:
        fault = f"{len(brokers)} brokers" if brokers else "no broker that uses brokerkit"
        raise UnknownBroker(f"the app {getattr(app, 'name', type(app).__name__)!r} has {fault}")
    return brokers[0]


def prefix_of(app: WSGIApplication) -> str:
    """Return the part before ``/v2`` in the paths of an app's broker, the first one of several."""
    names = _blueprints(app)
    for rule in app.url_map.iter_rules() if names else ():  # type: ignore[attr-defined]
        blueprint, _, view = rule.endpoint.rpartition(".")
        if blueprint in names and view == Operation.CATALOG.value and rule.rule.endswith(_CATALOG):
            return str(rule.rule).removesuffix(_CATALOG)
    return ""


def login_of(app: WSGIApplication) -> Login:
    """Return a login that an app's broker accepts.

    Raises:
        UnknownBroker: The app has no broker that uses brokerkit, or several.
        UnknownLogin: The broker has only hashes of passwords, or an authenticator of its own.
    """
    return _login(auth_of(broker_of(app)))


def _login(auth: Authenticator) -> Login:
    match auth:
        case NoAuth():
            return None
        case BearerAuth():
            return first_token_of(auth)
        case BasicAuth():
            credentials = plain_credentials_of(auth)
            if credentials is None:
                raise UnknownLogin("the broker has only the hash of its password")
            return credentials
    name = getattr(auth, "__qualname__", type(auth).__qualname__)
    raise UnknownLogin(f"the broker authenticates by {name}")


def _blueprints(app: WSGIApplication) -> dict[str, BrokerBlueprint]:
    blueprints = getattr(app, "blueprints", {})
    return {
        name: blueprint for name, blueprint in blueprints.items() if isinstance(blueprint, BrokerBlueprint)
    }
