"""R-REQ: what holds for every request."""

from __future__ import annotations

from ..rule import (
    INTEROP,
    MUST,
    SHOULD,
    Observation,
    Rule,
    RuleSet,
    any_response,
    at,
    refusals,
    unless_status,
)
from ..situations import Situation

RULES: list[Rule] = []
_chapter = RuleSet(RULES)
rule, expects = _chapter.rule, _chapter.expects

ECHO = "x-broker-api-request-identity"


@rule(
    "R-REQ.odd-ids",
    INTEROP,
    "An id that has to be quoted in a path is taken as any other.",
    at(Situation.MADE_UNDER_ODD_ID, Situation.DELETED_UNDER_ODD_ID),
)
def odd_ids(seen: Observation) -> str | None:
    """What is wrong with ordinary ids too, other rules tell."""
    if seen.situation is Situation.DELETED_UNDER_ODD_ID:
        return "answered 410, as if it had lost what has that id" if seen.status == 410 else None
    (plain,) = seen.before
    if seen.status in (200, 201, 202):
        return None
    told = seen.status or "nothing"
    return f"answered {told} to an id that has to be quoted, and {plain.status} to an ordinary one"


@rule(
    "R-REQ.ids-apart",
    MUST,
    "Ids that differ are of different things, also those that are the same when decoded wrongly.",
    at(Situation.DELETED_UNDER_LIKE_ID),
)
def ids_apart(seen: Observation) -> str | None:
    """Else the one is deleted in place of the other."""
    is_deleted = 200 <= seen.status < 300
    return f"answered {seen.status} to a delete of an id {seen.facts['what']}" if is_deleted else None


expects(
    "R-REQ-1.version-required",
    MUST,
    "A request without X-Broker-API-Version is refused with 400.",
    at(Situation.VERSION_MISSING),
    400,
)
expects(
    "R-REQ-1.version-malformed",
    MUST,
    "A request whose X-Broker-API-Version is no version is refused with 400.",
    at(Situation.VERSION_MALFORMED),
    400,
)
expects(
    "R-REQ-1.other-major",
    MUST,
    "A request of another major version of the API is refused with 412.",
    at(Situation.VERSION_OF_OTHER_MAJOR),
    412,
)
expects(
    "R-REQ-1.later-minor",
    INTEROP,
    "A platform of a later minor version is served, as it may be newer than the broker.",
    at(Situation.VERSION_LATER),
    200,
)
expects(
    "R-REQ-1.too-old",
    MUST,
    "A platform of an old minor version is served, or refused with 412.",
    at(Situation.VERSION_OLD),
    200,
    412,
)
expects(
    "R-REQ-2.login-required",
    MUST,
    "A request without a login is refused with 401.",
    at(Situation.LOGIN_MISSING),
    401,
)
expects(
    "R-REQ-2.login-wrong",
    MUST,
    "A request with a wrong login is refused with 401.",
    at(Situation.LOGIN_WRONG),
    401,
)
expects(
    "R-REQ-2.login-first",
    MUST,
    "The login is judged before anything else of a request is read.",
    at(Situation.LOGIN_MISSING_AND_ALL_ELSE_WRONG),
    401,
)


@rule(
    "R-REQ-2.challenge",
    MUST,
    "A 401 says with WWW-Authenticate how to log in.",
    lambda seen: seen.status == 401,
)
def challenge(seen: Observation) -> str | None:
    """There must be a header, and something in it."""
    if seen.exchange.response_headers.get("www-authenticate", "").strip():
        return None
    return "answered 401 without the header WWW-Authenticate"


expects(
    "R-REQ-3.identity-malformed",
    MUST,
    "A malformed X-Broker-API-Originating-Identity is refused with 400.",
    at(Situation.IDENTITY_MALFORMED),
    400,
)
expects(
    "R-REQ-3.any-platform",
    MUST,
    "An X-Broker-API-Originating-Identity of any platform is accepted.",
    at(Situation.IDENTITY_OF_ANY_PLATFORM),
    200,
)


@rule(
    "R-REQ-4.echo",
    SHOULD,
    "An answer carries the X-Broker-API-Request-Identity of its request back.",
    lambda seen: any_response(seen) and seen.status < 400,
)
def echo(seen: Observation) -> str | None:
    """It must be the same."""
    sent = {name.lower(): value for name, value in seen.exchange.headers.items()}.get(ECHO)
    got = seen.exchange.response_headers.get(ECHO)
    if sent is None or got == sent:
        return None
    return "answered without X-Broker-API-Request-Identity" if got is None else f"answered with {got!r} in it"


rule(
    "R-REQ-4.echo-in-errors",
    SHOULD,
    "An error carries the X-Broker-API-Request-Identity of its request back.",
    refusals,
)(echo)

expects(
    "R-REQ-5.cloud-foundry-headers",
    INTEROP,
    "Headers that Cloud Foundry adds to its requests do no harm.",
    at(Situation.CATALOG_AS_CLOUD_FOUNDRY),
    200,
)
expects(
    "R-REQ-6.unreadable-body",
    MUST,
    "A body that is no JSON object is refused with 400.",
    at(Situation.PROVISION_UNREADABLE, Situation.UPDATE_UNREADABLE, Situation.BIND_UNREADABLE),
    400,
)
expects(
    "R-REQ-6.wrong-types",
    MUST,
    "A body with a field of a wrong type is refused with 400.",
    at(Situation.PROVISION_OF_WRONG_TYPES, Situation.UPDATE_OF_WRONG_TYPES, Situation.BIND_OF_WRONG_TYPES),
    400,
)


@rule(
    "R-REQ-6.json-answers",
    MUST,
    "The body of every success is a JSON object.",
    lambda seen: 200 <= seen.status < 300,
)
def json_answers(seen: Observation) -> str | None:
    """An object, not just JSON."""
    if seen.exchange.document is not None:
        return None
    if seen.exchange.failure is not None:
        return f"answered {seen.status}, but {seen.exchange.failure}"
    return f"answered {seen.status} with a body that is no JSON object"


@rule(
    "R-REQ-6.content-type",
    MUST,
    "Every success says that it is application/json.",
    lambda seen: 200 <= seen.status < 300 and seen.exchange.document is not None,
)
def content_type(seen: Observation) -> str | None:
    """Parameters such as a charset do no harm."""
    told = seen.exchange.response_headers.get("content-type", "")
    if told.partition(";")[0].strip().lower() == "application/json":
        return None
    return f"answered with the Content-Type {told!r}" if told else "answered without a Content-Type"


@rule(
    "R-REQ-7.unknown-fields",
    MUST,
    "Unknown fields in a body are ignored, never refused.",
    at(
        Situation.PROVISIONED_AGAIN_WITH_UNKNOWN_FIELDS,
        Situation.UPDATED_WITH_UNKNOWN_FIELDS,
        Situation.BOUND_AGAIN_WITH_UNKNOWN_FIELDS,
    ),
)
def unknown_fields(seen: Observation) -> str | None:
    """The same request without them was accepted."""
    return unless_status(seen, 200, 202)


@rule(
    "R-REQ-8.nothing-made",
    MUST,
    "A provision that is refused with a 4xx makes nothing.",
    at(Situation.REFUSED_PROVISION_DELETED),
)
def nothing_made(seen: Observation) -> str | None:
    """A delete finds nothing there."""
    if seen.status == 410 or not 200 <= seen.status < 300:  # what a DELETE may answer is another rule's
        return None
    return f"refused the provision ({seen.before[0].status}), but had a service instance to delete"


@rule(
    "R-REQ-8.nothing-bound",
    MUST,
    "A bind that is refused with a 4xx makes nothing.",
    at(Situation.REFUSED_BIND_DELETED),
)
def nothing_bound(seen: Observation) -> str | None:
    """A delete finds nothing there."""
    if seen.status == 410 or not 200 <= seen.status < 300:
        return None
    return f"refused the bind ({seen.before[0].status}), but had a service binding to delete"


@rule(
    "R-REQ-8.nothing-changed",
    MUST,
    "Updates and deletes that are refused with a 4xx leave a service instance as it was.",
    at(Situation.FETCHED_AFTER_REFUSALS),
)
def nothing_changed(seen: Observation) -> str | None:
    """A fetch tells the same as before."""
    (before,) = seen.before
    names = ("service_id", "plan_id", "parameters", "maintenance_info")
    if seen.status != 200:
        return f"answered {seen.status} to a fetch, after it refused to change the service instance"
    was, now = before.document or {}, seen.document
    changed = [name for name in names if was.get(name) != now.get(name)]
    if changed:
        return f"changed {' and '.join(changed)} of the service instance by requests that it refused"
    return None


@rule(
    "R-REQ-9.only-true",
    MUST,
    "A platform that does not say accepts_incomplete=true is never answered as if it could poll.",
    at(
        Situation.PROVISIONED_WITHOUT_SAYING_TRUE,
        Situation.UPDATED_WITHOUT_SAYING_TRUE,
        Situation.BOUND_WITHOUT_SAYING_TRUE,
        Situation.UNBOUND_WITHOUT_SAYING_TRUE,
        Situation.DEPROVISIONED_WITHOUT_SAYING_TRUE,
    ),
)
def only_true(seen: Observation) -> str | None:
    """A word that is no boolean may be refused as such."""
    if seen.facts["word"] != "false" and 400 <= seen.status < 500:
        return None
    return unless_status(seen, (422, "AsyncRequired"))


@rule(
    "R-REQ-10.null-is-absent",
    INTEROP,
    "An optional field that is null is as one that is absent, as Korifi writes it.",
    at(
        Situation.PROVISIONED_AGAIN_WITH_NULLS,
        Situation.UPDATED_WITH_NULLS,
        Situation.BOUND_AGAIN_WITH_NULLS,
    ),
)
def null_is_absent(seen: Observation) -> str | None:
    """The same request without it was accepted; but for a bind, which may be in conflict then."""
    conflicts = (409,) if seen.situation is Situation.BOUND_AGAIN_WITH_NULLS else ()
    return unless_status(seen, 200, 202, *conflicts)
