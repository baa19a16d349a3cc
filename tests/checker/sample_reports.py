"""Handmade reports of correct, faulty and hostile brokers."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from brokerkit.checker.report import Failure, Leftover, Level, Report, Verdict
from brokerkit.client.exchange import Exchange, login_secrets

URL = "http://127.0.0.1:8080"
PASSWORD = "hunter2hunter2"
SECRETS = login_secrets("platform", PASSWORD, None)

HOSTILE = (
    "\x1b[31;1m<script>alert(1)</script>]]>&amp;\x00\x07\x9b2J\u202e\ud800 [bold]no[/bold] :boom: {{ 7*7 }}"
)
"""A text that a hostile broker may send anywhere."""


def make_exchange(**fields: Any) -> Exchange:
    """Build an exchange: a PUT with a login and a 202 response."""
    return Exchange(
        **{
            "method": "PUT",
            "url": f"{URL}/v2/service_instances/i1?accepts_incomplete=true",
            "headers": {"Authorization": f"Basic {SECRETS[0]}", "X-Broker-API-Version": "2.17"},
            "body": b'{"service_id": "s1", "parameters": {"password": "not-to-be-seen"}}',
            "status": 202,
            "response_headers": {"content-type": "application/json", "set-cookie": "not-to-be-seen"},
            "response_body": b'{"operation": "two"}',
            "seconds": 0.25,
            "secrets": SECRETS,
            **fields,
        }
    )


def make_failure(**fields: Any) -> Failure:
    return Failure(
        **{
            "where": "hello-db/large",
            "fault": "returned a different operation than before",
            "exchange": make_exchange(),
            **fields,
        }
    )


def passed(key: str = "R-REQ-1.required", level: Level = Level.MUST) -> Verdict:
    return Verdict(key=key, level=level, sentence="A request without a version is rejected.", judged=2)


def skipped(key: str = "R-GETI-1.found", level: Level = Level.MUST) -> Verdict:
    sentence = "An instance can be fetched."
    return Verdict(key=key, level=level, sentence=sentence, why="no offering is instances_retrievable")


def failed(
    key: str = "R-PROV-4.same", level: Level = Level.MUST, failures: int = 1, **fields: Any
) -> Verdict:
    failure = make_failure(**fields)
    sentence = "A repeated PUT during an operation returns the same operation."
    return Verdict(key=key, level=level, sentence=sentence, judged=9, failures=[failure] * failures)


def make_report(*verdicts: Verdict, **fields: Any) -> Report:
    return Report(
        **{
            "url": URL,
            "started_at": datetime(2026, 11, 24, 3, 0, tzinfo=UTC),
            "seconds": 5.2,
            "requests": 214,
            "plans": ["hello-db/small", "hello-db/large"],
            "verdicts": verdicts,
            **fields,
        }
    )


CORRECT = make_report(passed(), passed("R-PROV-1.created"), skipped())

FAULTY = make_report(
    passed(),
    failed(level=Level.SHOULD, key="R-REQ-4.echoed"),
    failed(
        failures=5,
        before=[make_exchange(response_body=b'{"operation": "one"}')],
    ),
    passed("R-PROV-1.created"),
    skipped(),
)

LEFT = make_report(
    passed(),
    leftovers=[
        Leftover(
            what="service instance", instance_id="i1", binding_id=None, why="500 {}", curl="curl -X DELETE i1"
        ),
        Leftover(
            what="service binding",
            instance_id="i1",
            binding_id="b1",
            why="no response",
            curl="curl -X DELETE b1",
        ),
    ],
)

UNREACHABLE = make_report(
    Verdict(key="R-REQ-1.required", level=Level.MUST, sentence="…", why="the broker could not be reached"),
    requests=1,
    plans=[],
    problem="the service broker cannot be reached: no connection",
)

LONG = make_report(*LEFT.verdicts, *(passed(f"R-X-{n}") for n in range(5_000)), leftovers=LEFT.leftovers)
"""A report larger than a pipe's buffer."""

INTERRUPTED = make_report(passed(), skipped(), problem="interrupted")

NASTY = make_report(
    failed(
        where=HOSTILE,
        fault=HOSTILE + "x" * 100_000,
        exchange=make_exchange(
            url=f"{URL}/v2/{PASSWORD}/<b>",
            response_body=HOSTILE.encode(errors="replace") + b"]]>" * 40_000,
            response_headers={"x-a": HOSTILE, "www-authenticate": f"Basic {PASSWORD}"},
        ),
        before=[make_exchange(status=None, failure=HOSTILE, response_body=PASSWORD.encode())],
    ),
    Verdict(key=f"R-X-1.{HOSTILE}", level=Level.MUST, sentence=HOSTILE, why=HOSTILE),
    url=f"http://platform:{PASSWORD}@127.0.0.1:8080/<script>",
    plans=[HOSTILE],
    leftovers=[
        Leftover(what="service instance", instance_id=HOSTILE, binding_id=None, why=HOSTILE, curl=HOSTILE)
    ],
    problem=HOSTILE,
)

ALL = {
    "correct": CORRECT,
    "faulty": FAULTY,
    "left": LEFT,
    "long": LONG,
    "unreachable": UNREACHABLE,
    "interrupted": INTERRUPTED,
    "nasty": NASTY,
    "empty": make_report(),
}
