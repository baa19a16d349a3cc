"""What an app tells of its broker: where its ``/v2`` is, and which login it takes."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from ..auth import _HASH_PREFIX, BasicAuth, BearerAuth, NoAuth
from ..requests import Operation
from ..server.blueprint import BrokerBlueprint
from .types import Login

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

    from ..auth import Authenticator
    from ..broker import Broker

_CATALOG = "/v2/catalog"


class CannotTell(LookupError):
    """An app does not tell this of its broker; the text says why."""


def brokers_of(app: WSGIApplication) -> list[Broker]:
    """The brokers whose blueprints an app has; none if it is no Flask app."""
    pipelines = {id(each._pipeline): each._pipeline for each in _blueprints(app).values()}
    return [cast("Broker", each._sender) for each in pipelines.values()]


def broker_of(app: WSGIApplication) -> Broker:
    """The one broker of an app.

    Raises:
        Untold: There is none that is written with brokerkit, or there are several.
    """
    brokers = brokers_of(app)
    if len(brokers) != 1:
        there = f"{len(brokers)} brokers" if brokers else "no broker that is written with brokerkit"
        raise CannotTell(f"the app {_named(app)} has {there}")
    return brokers[0]


def prefix_of(app: WSGIApplication) -> str:
    """What stands before ``/v2`` in the paths of an app's broker: its first one's, if there are several."""
    names = _blueprints(app)
    for rule in app.url_map.iter_rules() if names else ():  # type: ignore[attr-defined]
        blueprint, _, view = rule.endpoint.rpartition(".")
        if blueprint in names and view == Operation.CATALOG.value and rule.rule.endswith(_CATALOG):
            return str(rule.rule).removesuffix(_CATALOG)
    return ""


def login_of(app: WSGIApplication) -> Login:
    """A login that the broker of an app takes.

    Raises:
        Untold: The broker has only hashes, or a way of its own; or it is not to be found.
    """
    return _login(broker_of(app)._pipeline._settings.auth)


def _login(auth: Authenticator) -> Login:
    match auth:
        case NoAuth():
            return None
        case BearerAuth():
            return auth._tokens[0][1]
        case BasicAuth():
            for name, secret in auth._credentials:
                if not _HASH_PREFIX.match(secret):
                    return name, secret
            raise CannotTell("the broker has only the hash of its password")
    raise CannotTell(f"the broker authenticates by {getattr(auth, '__qualname__', type(auth).__qualname__)}")


def _blueprints(app: WSGIApplication) -> dict[str, BrokerBlueprint]:
    found = getattr(app, "blueprints", {})
    return {name: each for name, each in found.items() if isinstance(each, BrokerBlueprint)}


def _named(app: object) -> str:
    return repr(getattr(app, "name", type(app).__name__))
