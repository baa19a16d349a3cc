"""Brokers that are wrong at the door, in how they read and refuse, and in what they offer."""

from __future__ import annotations

from .. import stateful_faults as misdeeds
from ..faults import answers, body, does, headers, ignores, offers, reads, refuses, several, tells, to
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
    Broken,
    has,
    ignores_identities,
    lacks_header,
    needs_no_login,
    refuses_nulls,
    sets,
)

AT_THE_DOOR = [
    Broken(
        "a request without a version is 412",
        "R-REQ-1.version-required",
        answers(412, to(word="VersionMissing")),
    ),
    Broken(
        "requests for bindings need no version",
        "R-REQ-1.version-required",
        reads(lambda asked: asked.binding_id is not None and asked.headers.setdefault(VERSION, "2.17")),
    ),
    Broken(
        "a malformed version is 412", "R-REQ-1.version-malformed", answers(412, to(word="VersionMalformed"))
    ),
    Broken(
        "serves every version",
        "R-REQ-1.other-major",
        reads(
            lambda asked: (
                asked.headers.get(VERSION, "").startswith("3") and asked.headers.update({VERSION: "2.17"})
            )
        ),
    ),
    Broken(
        "refuses versions later than its own",
        "R-REQ-1.later-minor",
        refuses(412, lambda asked: asked.headers.get(VERSION) == "2.99"),
    ),
    Broken("a version that is too old is 400", "R-REQ-1.too-old", answers(400, to(word="VersionTooOld"))),
    Broken(
        "open without a password",
        "R-REQ-2.login-required R-REQ-2.login-first",
        reads(lambda asked: asked.headers.setdefault("authorization", LOGIN)),
    ),
    Broken(
        "takes any password",
        "R-REQ-2.login-wrong",
        reads(lambda asked: "authorization" in asked.headers and asked.headers.update(authorization=LOGIN)),
    ),
    *(
        Broken(
            f"{' and '.join(operations)} are open",
            "R-REQ-2.login-required R-REQ-2.login-wrong",
            needs_no_login(*operations),
        )
        for operations in (
            (GET_BINDING, GET_INSTANCE),
            (BIND, UNBIND, UPDATE),
            (POLL_BINDING,),
        )
    ),
    Broken(
        "a wrong login is 403",
        "R-REQ-2.login-required R-REQ-2.login-wrong R-REQ-2.login-first",
        answers(403, to(status=401)),
    ),
    Broken(
        "reads the version before the login",
        "R-REQ-2.login-first",
        refuses(400, lacks_header(VERSION), "VersionMissing"),
    ),
    Broken("does not say how to log in", "R-REQ-2.challenge", headers(to(status=401), WWW_Authenticate=None)),
    Broken(
        "does not read identities",
        "R-REQ-3.identity-malformed",
        reads(lambda asked: asked.headers.pop(IDENTITY, None)),
    ),
    *(
        Broken(
            f"{operation} does not read identities",
            "R-REQ-3.identity-malformed",
            ignores_identities(operation),
        )
        for operation in (UPDATE, BIND, UNBIND, GET_BINDING)
    ),
    Broken(
        "fails at malformed identities",
        "R-REQ-3.identity-malformed",
        answers(500, to(word="IdentityMalformed")),
    ),
    Broken(
        "knows two platforms",
        "R-REQ-3.any-platform",
        refuses(400, lambda asked: asked.headers.get(IDENTITY, "").startswith("brokerkit")),
    ),
    Broken(
        "forgets the Request-Identity",
        "R-REQ-4.echo R-REQ-4.echo-in-errors",
        headers(to(), X_Broker_API_Request_Identity=None),
    ),
    *(
        Broken(
            f"forgets the Request-Identity in answers with {status}",
            rule,
            headers(to(status=status), X_Broker_API_Request_Identity=None),
        )
        for status, rule in ((200, "R-REQ-4.echo"), (404, "R-REQ-4.echo-in-errors"))
    ),
    Broken(
        "answers with a Request-Identity of its own",
        "R-REQ-4.echo",
        headers(to(CATALOG, status=200), X_Broker_API_Request_Identity="mine"),
    ),
    Broken(
        "refuses headers of Cloud Foundry",
        "R-REQ-5.cloud-foundry-headers",
        refuses(400, lambda asked: "x-vcap-request-id" in asked.headers),
    ),
]

IDS = [
    *(
        Broken(
            f"{operation} refuses ids with a percent sign",
            "R-REQ.special-ids",
            refuses(400, misdeeds.has_in_id("%", operation)),
        )
        for operation in (PROVISION, BIND)
    ),
    *(
        Broken(
            f"{operation} loses ids with a percent sign",
            "R-REQ.special-ids",
            refuses(410, misdeeds.has_in_id("%", operation)),
        )
        for operation in (DEPROVISION, UNBIND)
    ),
    Broken("takes a plus in an id for a space", "R-REQ.distinct-ids", misdeeds.decodes_ids(" ", "+")),
    *(
        Broken(f"{what} have no capitals", "R-REQ.distinct-ids", reads(change))
        for what, change in (
            ("instances", misdeeds.takes_capitals_for_small("instance_id")),
            ("bindings", misdeeds.takes_capitals_for_small("binding_id")),
        )
    ),
    Broken("decodes ids twice", "R-REQ.distinct-ids", misdeeds.decodes_ids("A", "%41"), LATER),
]

BODIES = [
    Broken("a 500 for bad JSON", "R-REQ-6.unreadable-body", answers(500, to(word="Unreadable"))),
    Broken(
        "a 422 for bad JSON in an update",
        "R-REQ-6.unreadable-body",
        answers(422, to(UPDATE, word="Unreadable")),
    ),
    Broken("a 500 for wrong types", "R-REQ-6.wrong-types", answers(500, to(word="WrongType"))),
    *(
        Broken(
            f"{operation} ignores parameters of a wrong type",
            "R-REQ-6.wrong-types",
            ignores("parameters", of=operation, unless=lambda told: isinstance(told, dict)),
        )
        for operation in (PROVISION, UPDATE, BIND)
    ),
    Broken(
        "answers a delete with nothing", "R-REQ-6.json-responses", body(to(DEPROVISION, status=200), None)
    ),
    Broken("answers a delete with an array", "R-REQ-6.json-responses", body(to(DEPROVISION, status=200), [])),
    Broken("says that JSON is text", "R-REQ-6.content-type", headers(to(), Content_Type="text/plain")),
    Broken("does not say that JSON is JSON", "R-REQ-6.content-type", headers(to(BIND), Content_Type="")),
    Broken("refuses unknown fields", "R-REQ-7.unknown-fields", refuses(400, has("brokerkit_check"))),
    Broken(
        "leaves an instance after a refusal",
        "R-REQ-8.nothing-created",
        does("provision", misdeeds.makes_what_it_refuses),
    ),
    Broken(
        "leaves a binding after a refusal",
        "R-REQ-8.nothing-bound",
        does("bind", misdeeds.binds_what_it_refuses),
    ),
    Broken(
        "applies an update that it refuses",
        "R-REQ-8.nothing-changed",
        does("update", misdeeds.applies_what_it_refuses),
    ),
    *(
        Broken(
            f"{operation} takes accepts_incomplete={word} for true",
            "R-REQ-9.only-true",
            misdeeds.takes_for_true(operation, word),
            SLOW if operation is DEPROVISION else LATER,
        )
        for operation in (PROVISION, UPDATE, BIND, UNBIND, DEPROVISION)
        for word in ("false", "1", *(("True",) if operation is BIND else ()))
    ),
    Broken(
        "refuses parameters that are null",
        "R-REQ-10.null-is-absent",
        refuses_nulls(PROVISION),
        PLAIN,
    ),
    *(
        Broken(
            f"{operation} refuses parameters that are null",
            "R-REQ-10.null-is-absent",
            refuses_nulls(operation),
        )
        for operation in (UPDATE, BIND)
    ),
]

ERRORS = [
    Broken(
        "writes errors in HTML",
        "R-ERR-1.body",
        several(body(to(status=400), b"<html>"), headers(to(status=400), Content_Type="text/html")),
    ),
    Broken(
        "says nothing of what is gone",
        "R-ERR-1.body",
        body(to(DEPROVISION, UNBIND, status=410), None),
    ),
    Broken("has empty errors", "R-ERR-1.texts", tells(to(status=404), error="")),
    Broken(
        "describes errors with a list",
        "R-ERR-1.texts R-ERR-1.description",
        tells(to(status=404), description=[1]),
    ),
    Broken("writes sentences in `error`", "R-ERR-1.error-code", tells(to(status=404), error="not found")),
    Broken("does not describe errors", "R-ERR-1.description", tells(to(status=409), description=None)),
    Broken(
        "calls an instance unusable that is none",
        "R-ERR-2.usable",
        tells(to(status=404), instance_usable=False),
    ),
    Broken(
        "does not know if an update is repeatable",
        "R-ERR-2.usable",
        tells(to(UPDATE, status=404), update_repeatable="no"),
    ),
    Broken(
        "a ConcurrencyError is 409", "R-ERR-3.error-codes", tells(to(status=409), error="ConcurrencyError")
    ),
    Broken(
        "refuses parameters with 422",
        "R-ERR-4.known-422 R-PROV-6.schema",
        answers(422, to(PROVISION, word="BadParameters")),
    ),
    Broken(
        "fails to delete what it refused",
        "R-ERR-4.no-server-errors",
        misdeeds.fails_to_delete_what_it_refused,
    ),
    Broken(
        "never lets go of an orphan",
        "R-ERR-4.orphans",
        misdeeds.keeps_orphans,
        options={"operation_timeout": 0.5},
    ),
]

CATALOGS = [
    Broken("has no catalog", "R-CAT-1.catalog", tells(to(CATALOG), services=None)),
    Broken(
        "has an offering without a description",
        "R-CAT-2.offering",
        offers(lambda offering, _: offering.pop("description")),
        PLAIN,
    ),
    Broken(
        "has an offering with one tag",
        "R-CAT-2.offering",
        offers(lambda offering, _: offering.update(tags="db")),
        PLAIN,
    ),
    *(
        Broken(f"has {what}", rule, offers(sets(**fields)), PLAIN)
        for what, rule, fields in (
            ("a plan without a description", "R-CAT-3.plan", {"description": None}),
            ("a plan that is free of course", "R-CAT-3.plan", {"free": "of course"}),
            ("a maintenance_info of version 1", "R-CAT-3.version", {"maintenance_info": {"version": "1"}}),
            (
                "a schema without $schema",
                "R-CAT-4.schemas",
                {"schemas": {"service_instance": {"create": {"parameters": {"type": "object"}}}}},
            ),
            ("two plans of one name", "R-CAT-5.unique", {"name": "now"}),
            ("a description of 300 characters", "R-CAT-5.lengths", {"description": "x" * 300}),
            ("a description of 10,001 characters", "R-CAT-6.cloud-foundry", {"description": "x" * 10_001}),
        )
    ),
    Broken(
        "has a name with spaces",
        "R-CAT-5.names",
        offers(lambda _, plan: plan.update(name="ever so plain")),
        "plain-id",
    ),
    Broken(
        "has a client without redirect_uri",
        "R-CAT-6.cloud-foundry",
        offers(lambda offering, _: offering.update(dashboard_client={"id": "c", "secret": "s"})),
        PLAIN,
    ),
    Broken(
        "does not say that a plan is bindable",
        "R-CAT-7.explicit",
        offers(lambda _, plan: plan.pop("bindable"), plan=0),
    ),
    Broken("fails at ETags", "R-CAT-8.conditional", answers(500, to(CATALOG, status=304)), PLAIN),
]
