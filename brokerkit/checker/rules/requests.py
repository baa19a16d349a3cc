"""R-REQ: rules for all requests."""

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
    check_status,
    refusals,
)
from ..situations import Situation

RULES: list[Rule] = []
_rule_set = RuleSet(RULES)
rule, expects = _rule_set.rule, _rule_set.expects

ECHO = "x-broker-api-request-identity"


@rule(
    "R-REQ.special-ids",
    INTEROP,
    "An id with characters that must be percent-encoded in a path is treated like any other id.",
    at(Situation.CREATED_UNDER_SPECIAL_ID, Situation.DELETED_UNDER_SPECIAL_ID),
)
def special_ids(observation: Observation) -> str | None:
    """Compare the response with that for an ordinary id; other rules report faults that both have."""
    if observation.situation is Situation.DELETED_UNDER_SPECIAL_ID:
        return (
            "returned 410 for an existing resource with special characters in its id"
            if observation.status == 410
            else None
        )
    (plain,) = observation.previous
    if observation.status in (200, 201, 202):
        return None
    status = observation.status or "no response"
    return f"returned {status} for an id with special characters, but {plain.status} for an ordinary id"


@rule(
    "R-REQ.distinct-ids",
    MUST,
    "Different ids identify different resources, even if incorrect decoding makes them equal.",
    at(Situation.DELETED_UNDER_SIMILAR_ID),
)
def distinct_ids(observation: Observation) -> str | None:
    """Check that nothing was deleted under a similar id."""
    is_deleted = 200 <= observation.status < 300
    return (
        f"returned {observation.status} to a DELETE request for another id, {observation.facts['what']}"
        if is_deleted
        else None
    )


expects(
    "R-REQ-1.version-required",
    MUST,
    "A request without X-Broker-API-Version is rejected with 400.",
    at(Situation.VERSION_MISSING),
    400,
)
expects(
    "R-REQ-1.version-malformed",
    MUST,
    "A request with a malformed X-Broker-API-Version is rejected with 400.",
    at(Situation.VERSION_MALFORMED),
    400,
)
expects(
    "R-REQ-1.other-major",
    MUST,
    "A request for another major version of the API is rejected with 412.",
    at(Situation.VERSION_OF_OTHER_MAJOR),
    412,
)
expects(
    "R-REQ-1.later-minor",
    INTEROP,
    "A request for a later minor version is accepted: a platform may be newer than the broker.",
    at(Situation.VERSION_LATER),
    200,
)
expects(
    "R-REQ-1.too-old",
    MUST,
    "A request for an old minor version is accepted, or rejected with 412.",
    at(Situation.VERSION_OLD),
    200,
    412,
)
expects(
    "R-REQ-2.login-required",
    MUST,
    "A request without credentials is rejected with 401.",
    at(Situation.LOGIN_MISSING),
    401,
)
expects(
    "R-REQ-2.login-wrong",
    MUST,
    "A request with wrong credentials is rejected with 401.",
    at(Situation.LOGIN_WRONG),
    401,
)
expects(
    "R-REQ-2.login-first",
    MUST,
    "The broker checks the credentials before any other part of the request.",
    at(Situation.LOGIN_MISSING_IN_INVALID_REQUEST),
    401,
)


@rule(
    "R-REQ-2.challenge",
    MUST,
    "A 401 response has a WWW-Authenticate header.",
    lambda observation: observation.status == 401,
)
def challenge(observation: Observation) -> str | None:
    """Check that the header is present and not empty."""
    if observation.exchange.response_headers.get("www-authenticate", "").strip():
        return None
    return "returned 401 without the header WWW-Authenticate"


expects(
    "R-REQ-3.identity-malformed",
    MUST,
    "A request with a malformed X-Broker-API-Originating-Identity is rejected with 400.",
    at(Situation.IDENTITY_MALFORMED),
    400,
)
expects(
    "R-REQ-3.any-platform",
    MUST,
    "A request with an X-Broker-API-Originating-Identity of any platform is accepted.",
    at(Situation.IDENTITY_OF_ANY_PLATFORM),
    200,
)


@rule(
    "R-REQ-4.echo",
    SHOULD,
    "A response repeats the X-Broker-API-Request-Identity of its request.",
    lambda observation: any_response(observation) and observation.status < 400,
)
def echo(observation: Observation) -> str | None:
    """Compare the header of the response with that of the request."""
    sent = {name.lower(): value for name, value in observation.exchange.headers.items()}.get(ECHO)
    received = observation.exchange.response_headers.get(ECHO)
    if sent is None or received == sent:
        return None
    return (
        "returned no X-Broker-API-Request-Identity"
        if received is None
        else f"returned the X-Broker-API-Request-Identity {received!r}"
    )


rule(
    "R-REQ-4.echo-in-errors",
    SHOULD,
    "An error response repeats the X-Broker-API-Request-Identity of its request.",
    refusals,
)(echo)

expects(
    "R-REQ-5.cloud-foundry-headers",
    INTEROP,
    "A request with the additional headers of Cloud Foundry is accepted.",
    at(Situation.CATALOG_AS_CLOUD_FOUNDRY),
    200,
)
expects(
    "R-REQ-6.unreadable-body",
    MUST,
    "A request with a body that is not a JSON object is rejected with 400.",
    at(Situation.PROVISION_UNREADABLE, Situation.UPDATE_UNREADABLE, Situation.BIND_UNREADABLE),
    400,
)
expects(
    "R-REQ-6.wrong-types",
    MUST,
    "A request with a field of a wrong type is rejected with 400.",
    at(Situation.PROVISION_OF_WRONG_TYPES, Situation.UPDATE_OF_WRONG_TYPES, Situation.BIND_OF_WRONG_TYPES),
    400,
)


@rule(
    "R-REQ-6.json-responses",
    MUST,
    "The body of every successful response is a JSON object.",
    lambda observation: 200 <= observation.status < 300,
)
def json_responses(observation: Observation) -> str | None:
    """Check for a JSON object; other JSON values are invalid."""
    if observation.exchange.document is not None:
        return None
    if observation.exchange.failure is not None:
        return f"returned {observation.status}, but {observation.exchange.failure}"
    return f"returned {observation.status} with a body that is not a JSON object"


@rule(
    "R-REQ-6.content-type",
    MUST,
    "Every successful response has the Content-Type application/json.",
    lambda observation: 200 <= observation.status < 300 and observation.exchange.document is not None,
)
def content_type(observation: Observation) -> str | None:
    """Check the media type; parameters such as a charset are allowed."""
    value = observation.exchange.response_headers.get("content-type", "")
    if value.partition(";")[0].strip().lower() == "application/json":
        return None
    return f"returned the Content-Type {value!r}" if value else "returned no Content-Type"


@rule(
    "R-REQ-7.unknown-fields",
    MUST,
    "A request with unknown fields in its body is accepted.",
    at(
        Situation.PROVISIONED_AGAIN_WITH_UNKNOWN_FIELDS,
        Situation.UPDATED_WITH_UNKNOWN_FIELDS,
        Situation.BOUND_AGAIN_WITH_UNKNOWN_FIELDS,
    ),
)
def unknown_fields(observation: Observation) -> str | None:
    """Check the status code; the same request without them was accepted."""
    return check_status(observation, 200, 202)


@rule(
    "R-REQ-8.nothing-created",
    MUST,
    "A provision request that is rejected with a 4xx status creates nothing.",
    at(Situation.REFUSED_PROVISION_DELETED),
)
def nothing_created(observation: Observation) -> str | None:
    """Check that a DELETE request finds nothing."""
    if (
        observation.status == 410 or not 200 <= observation.status < 300
    ):  # Other rules check the status code of the DELETE request.
        return None
    return (
        f"rejected the provision request ({observation.previous[0].status}), but created a service instance"
    )


@rule(
    "R-REQ-8.nothing-bound",
    MUST,
    "A bind request that is rejected with a 4xx status creates nothing.",
    at(Situation.REFUSED_BIND_DELETED),
)
def nothing_bound(observation: Observation) -> str | None:
    """Check that a DELETE request finds nothing."""
    if observation.status == 410 or not 200 <= observation.status < 300:
        return None
    return f"rejected the bind request ({observation.previous[0].status}), but created a service binding"


@rule(
    "R-REQ-8.nothing-changed",
    MUST,
    "Update requests that are rejected with a 4xx status do not change the service instance.",
    at(Situation.FETCHED_AFTER_REFUSALS),
)
def nothing_changed(observation: Observation) -> str | None:
    """Compare the service instance with its state before the rejected requests."""
    (previous,) = observation.previous
    names = ("service_id", "plan_id", "parameters", "maintenance_info")
    if observation.status != 200:
        return f"returned {observation.status} to a fetch after rejected updates"
    old, new = previous.document or {}, observation.document
    changed = [name for name in names if old.get(name) != new.get(name)]
    if changed:
        return f"changed {' and '.join(changed)} of the service instance by rejected requests"
    return None


@rule(
    "R-REQ-9.only-true",
    MUST,
    "A request is not processed asynchronously unless it has exactly accepts_incomplete=true.",
    at(
        Situation.PROVISIONED_WITH_FLAG_NOT_TRUE,
        Situation.UPDATED_WITH_FLAG_NOT_TRUE,
        Situation.BOUND_WITH_FLAG_NOT_TRUE,
        Situation.UNBOUND_WITH_FLAG_NOT_TRUE,
        Situation.DEPROVISIONED_WITH_FLAG_NOT_TRUE,
    ),
)
def only_true(observation: Observation) -> str | None:
    """Check the status code; a value that is no boolean may also be rejected as invalid."""
    if observation.facts["value"] != "false" and 400 <= observation.status < 500:
        return None
    return check_status(observation, (422, "AsyncRequired"))


@rule(
    "R-REQ-10.null-is-absent",
    INTEROP,
    "An optional field with the value null is treated as absent, as Korifi sends it.",
    at(
        Situation.PROVISIONED_AGAIN_WITH_NULLS,
        Situation.UPDATED_WITH_NULLS,
        Situation.BOUND_AGAIN_WITH_NULLS,
    ),
)
def null_is_absent(observation: Observation) -> str | None:
    """Check the status code; a bind request without the field may differ from the first one."""
    conflicts = (409,) if observation.situation is Situation.BOUND_AGAIN_WITH_NULLS else ()
    return check_status(observation, 200, 202, *conflicts)
