"""Brokers with faults in headers, authentication, request parsing, error responses and catalogs."""

from __future__ import annotations

from .. import stateful_faults as stateful_faults
from ..faults import (
    body,
    changes_catalog,
    changes_requests,
    combine,
    headers,
    ignores,
    overrides,
    rejects,
    responds_with,
    responses_to,
    with_fields,
)
from .faulty import (
    BIND,
    CATALOG,
    DEPROVISION,
    GET_BINDING,
    GET_INSTANCE,
    IDENTITY,
    LATER,
    LOGIN,
    PLAIN,
    POLL_BINDING,
    PROVISION,
    SLOW,
    UNBIND,
    UPDATE,
    VERSION,
    FaultyBroker,
    has_field,
    ignores_identities,
    lacks_header,
    needs_no_login,
    refuses_nulls,
    sets_plan_fields,
)

ACCESS = [
    FaultyBroker(
        "returns 412 without a version",
        "R-REQ-1.version-required",
        responds_with(412, responses_to(word="VersionMissing")),
    ),
    FaultyBroker(
        "requires no version for binding requests",
        "R-REQ-1.version-required",
        changes_requests(
            lambda request: request.binding_id is not None and request.headers.setdefault(VERSION, "2.17")
        ),
    ),
    FaultyBroker(
        "returns 412 for a malformed version",
        "R-REQ-1.version-malformed",
        responds_with(412, responses_to(word="VersionMalformed")),
    ),
    FaultyBroker(
        "accepts every version",
        "R-REQ-1.other-major",
        changes_requests(
            lambda request: (
                request.headers.get(VERSION, "").startswith("3") and request.headers.update({VERSION: "2.17"})
            )
        ),
    ),
    FaultyBroker(
        "rejects later minor versions",
        "R-REQ-1.later-minor",
        rejects(412, lambda request: request.headers.get(VERSION) == "2.99"),
    ),
    FaultyBroker(
        "returns 400 for an old version",
        "R-REQ-1.too-old",
        responds_with(400, responses_to(word="VersionTooOld")),
    ),
    FaultyBroker(
        "requires no credentials",
        "R-REQ-2.login-required R-REQ-2.login-first",
        changes_requests(lambda request: request.headers.setdefault("authorization", LOGIN)),
    ),
    FaultyBroker(
        "accepts any password",
        "R-REQ-2.login-wrong",
        changes_requests(
            lambda request: "authorization" in request.headers and request.headers.update(authorization=LOGIN)
        ),
    ),
    *(
        FaultyBroker(
            f"requires no credentials for {' and '.join(operations)}",
            "R-REQ-2.login-required R-REQ-2.login-wrong",
            needs_no_login(*operations),
        )
        for operations in (
            (GET_BINDING, GET_INSTANCE),
            (BIND, UNBIND, UPDATE),
            (POLL_BINDING,),
        )
    ),
    FaultyBroker(
        "returns 403 for wrong credentials",
        "R-REQ-2.login-required R-REQ-2.login-wrong R-REQ-2.login-first",
        responds_with(403, responses_to(status=401)),
    ),
    FaultyBroker(
        "checks the version before the credentials",
        "R-REQ-2.login-first",
        rejects(400, lacks_header(VERSION), "VersionMissing"),
    ),
    FaultyBroker(
        "returns 401 without WWW-Authenticate",
        "R-REQ-2.challenge",
        headers(responses_to(status=401), WWW_Authenticate=None),
    ),
    FaultyBroker(
        "ignores identities",
        "R-REQ-3.identity-malformed",
        changes_requests(lambda request: request.headers.pop(IDENTITY, None)),
    ),
    *(
        FaultyBroker(
            f"{operation} ignores identities",
            "R-REQ-3.identity-malformed",
            ignores_identities(operation),
        )
        for operation in (UPDATE, BIND, UNBIND, GET_BINDING)
    ),
    FaultyBroker(
        "fails on malformed identities",
        "R-REQ-3.identity-malformed",
        responds_with(500, responses_to(word="IdentityMalformed")),
    ),
    FaultyBroker(
        "accepts only two platforms",
        "R-REQ-3.any-platform",
        rejects(400, lambda request: request.headers.get(IDENTITY, "").startswith("brokerkit")),
    ),
    FaultyBroker(
        "omits the request identity",
        "R-REQ-4.echo R-REQ-4.echo-in-errors",
        headers(responses_to(), X_Broker_API_Request_Identity=None),
    ),
    *(
        FaultyBroker(
            f"omits the request identity in {status} responses",
            rule,
            headers(responses_to(status=status), X_Broker_API_Request_Identity=None),
        )
        for status, rule in ((200, "R-REQ-4.echo"), (404, "R-REQ-4.echo-in-errors"))
    ),
    FaultyBroker(
        "returns another request identity",
        "R-REQ-4.echo",
        headers(responses_to(CATALOG, status=200), X_Broker_API_Request_Identity="mine"),
    ),
    FaultyBroker(
        "rejects the headers of Cloud Foundry",
        "R-REQ-5.cloud-foundry-headers",
        rejects(400, lambda request: "x-vcap-request-id" in request.headers),
    ),
]

IDS = [
    *(
        FaultyBroker(
            f"{operation} rejects ids with a percent sign",
            "R-REQ.special-ids",
            rejects(400, stateful_faults.has_in_id("%", operation)),
        )
        for operation in (PROVISION, BIND)
    ),
    *(
        FaultyBroker(
            f"{operation} loses ids with a percent sign",
            "R-REQ.special-ids",
            rejects(410, stateful_faults.has_in_id("%", operation)),
        )
        for operation in (DEPROVISION, UNBIND)
    ),
    FaultyBroker(
        "decodes a plus sign in an id as a space", "R-REQ.distinct-ids", stateful_faults.decodes_ids(" ", "+")
    ),
    *(
        FaultyBroker(f"{what} are case-insensitive", "R-REQ.distinct-ids", changes_requests(change))
        for what, change in (
            ("instances", stateful_faults.takes_capitals_for_small("instance_id")),
            ("bindings", stateful_faults.takes_capitals_for_small("binding_id")),
        )
    ),
    FaultyBroker("decodes ids twice", "R-REQ.distinct-ids", stateful_faults.decodes_ids("A", "%41"), LATER),
]

BODIES = [
    FaultyBroker(
        "returns 500 for invalid JSON",
        "R-REQ-6.unreadable-body",
        responds_with(500, responses_to(word="Unreadable")),
    ),
    FaultyBroker(
        "returns 422 for invalid JSON in an update",
        "R-REQ-6.unreadable-body",
        responds_with(422, responses_to(UPDATE, word="Unreadable")),
    ),
    FaultyBroker(
        "returns 500 for wrong types",
        "R-REQ-6.wrong-types",
        responds_with(500, responses_to(word="WrongType")),
    ),
    *(
        FaultyBroker(
            f"{operation} ignores parameters of a wrong type",
            "R-REQ-6.wrong-types",
            ignores("parameters", of=operation, unless=lambda value: isinstance(value, dict)),
        )
        for operation in (PROVISION, UPDATE, BIND)
    ),
    FaultyBroker(
        "returns an empty body to a deletion",
        "R-REQ-6.json-responses",
        body(responses_to(DEPROVISION, status=200), None),
    ),
    FaultyBroker(
        "returns an array to a deletion",
        "R-REQ-6.json-responses",
        body(responses_to(DEPROVISION, status=200), []),
    ),
    FaultyBroker(
        "returns JSON as text/plain",
        "R-REQ-6.content-type",
        headers(responses_to(), Content_Type="text/plain"),
    ),
    FaultyBroker(
        "returns JSON without a content type",
        "R-REQ-6.content-type",
        headers(responses_to(BIND), Content_Type=""),
    ),
    FaultyBroker(
        "rejects unknown fields", "R-REQ-7.unknown-fields", rejects(400, has_field("brokerkit_check"))
    ),
    FaultyBroker(
        "creates an instance although it rejects the request",
        "R-REQ-8.nothing-created",
        overrides("provision", stateful_faults.makes_what_it_refuses),
    ),
    FaultyBroker(
        "creates a binding although it rejects the request",
        "R-REQ-8.nothing-bound",
        overrides("bind", stateful_faults.binds_what_it_refuses),
    ),
    FaultyBroker(
        "applies an update although it rejects the request",
        "R-REQ-8.nothing-changed",
        overrides("update", stateful_faults.applies_what_it_refuses),
    ),
    *(
        FaultyBroker(
            f"{operation} treats accepts_incomplete={word} as true",
            "R-REQ-9.only-true",
            stateful_faults.takes_for_true(operation, word),
            SLOW if operation is DEPROVISION else LATER,
        )
        for operation in (PROVISION, UPDATE, BIND, UNBIND, DEPROVISION)
        for word in ("false", "1", *(("True",) if operation is BIND else ()))
    ),
    FaultyBroker(
        "rejects null parameters",
        "R-REQ-10.null-is-absent",
        refuses_nulls(PROVISION),
        PLAIN,
    ),
    *(
        FaultyBroker(
            f"{operation} rejects null parameters",
            "R-REQ-10.null-is-absent",
            refuses_nulls(operation),
        )
        for operation in (UPDATE, BIND)
    ),
]

ERRORS = [
    FaultyBroker(
        "returns errors in HTML",
        "R-ERR-1.body",
        combine(
            body(responses_to(status=400), b"<html>"),
            headers(responses_to(status=400), Content_Type="text/html"),
        ),
    ),
    FaultyBroker(
        "returns 410 without a body",
        "R-ERR-1.body",
        body(responses_to(DEPROVISION, UNBIND, status=410), None),
    ),
    FaultyBroker(
        "returns empty error fields", "R-ERR-1.texts", with_fields(responses_to(status=404), error="")
    ),
    FaultyBroker(
        "returns a list as description",
        "R-ERR-1.texts R-ERR-1.description",
        with_fields(responses_to(status=404), description=[1]),
    ),
    FaultyBroker(
        "returns sentences in the field error",
        "R-ERR-1.error-code",
        with_fields(responses_to(status=404), error="not found"),
    ),
    FaultyBroker(
        "returns errors without a description",
        "R-ERR-1.description",
        with_fields(responses_to(status=409), description=None),
    ),
    FaultyBroker(
        "returns instance_usable for a provision",
        "R-ERR-2.usable",
        with_fields(responses_to(status=404), instance_usable=False),
    ),
    FaultyBroker(
        "returns update_repeatable that is not a boolean",
        "R-ERR-2.usable",
        with_fields(responses_to(UPDATE, status=404), update_repeatable="no"),
    ),
    FaultyBroker(
        "returns ConcurrencyError with 409",
        "R-ERR-3.error-codes",
        with_fields(responses_to(status=409), error="ConcurrencyError"),
    ),
    FaultyBroker(
        "returns 422 for invalid parameters",
        "R-ERR-4.known-422 R-PROV-6.schema",
        responds_with(422, responses_to(PROVISION, word="BadParameters")),
    ),
    FaultyBroker(
        "returns 500 when a rejected instance is deleted",
        "R-ERR-4.no-server-errors",
        stateful_faults.fails_to_delete_what_it_refused,
    ),
    FaultyBroker(
        "never deletes an orphan",
        "R-ERR-4.orphans",
        stateful_faults.keeps_orphans,
        options={"operation_timeout": 0.5},
    ),
]

CATALOGS = [
    FaultyBroker("has no catalog", "R-CAT-1.catalog", with_fields(responses_to(CATALOG), services=None)),
    FaultyBroker(
        "has an offering without a description",
        "R-CAT-2.offering",
        changes_catalog(lambda offering, _: offering.pop("description")),
        PLAIN,
    ),
    FaultyBroker(
        "has an offering with a tag that is not a list",
        "R-CAT-2.offering",
        changes_catalog(lambda offering, _: offering.update(tags="db")),
        PLAIN,
    ),
    *(
        FaultyBroker(f"has {what}", rule, changes_catalog(sets_plan_fields(**fields)), PLAIN)
        for what, rule, fields in (
            ("a plan without a description", "R-CAT-3.plan", {"description": None}),
            ("a plan with free that is not a boolean", "R-CAT-3.plan", {"free": "of course"}),
            ("a maintenance_info of version 1", "R-CAT-3.version", {"maintenance_info": {"version": "1"}}),
            (
                "a schema without $schema",
                "R-CAT-4.schemas",
                {"schemas": {"service_instance": {"create": {"parameters": {"type": "object"}}}}},
            ),
            ("two plans with the same name", "R-CAT-5.unique", {"name": "now"}),
            ("a description of 300 characters", "R-CAT-5.lengths", {"description": "x" * 300}),
            ("a description of 10,001 characters", "R-CAT-6.cloud-foundry", {"description": "x" * 10_001}),
        )
    ),
    FaultyBroker(
        "has a name with spaces",
        "R-CAT-5.names",
        changes_catalog(lambda _, plan: plan.update(name="ever so plain")),
        "plain-id",
    ),
    FaultyBroker(
        "has a dashboard client without redirect_uri",
        "R-CAT-6.cloud-foundry",
        changes_catalog(lambda offering, _: offering.update(dashboard_client={"id": "c", "secret": "s"})),
        PLAIN,
    ),
    FaultyBroker(
        "omits bindable of a plan",
        "R-CAT-7.explicit",
        changes_catalog(lambda _, plan: plan.pop("bindable"), plan=0),
    ),
    FaultyBroker(
        "fails on conditional requests",
        "R-CAT-8.conditional",
        responds_with(500, responses_to(CATALOG, status=304)),
        PLAIN,
    ),
]
