"""Tests of the checker with hostile brokers: every check ends, and reports its problems."""

from __future__ import annotations

import ssl
import threading
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from flask import Response

from brokerkit.checker import runner as checking
from brokerkit.checker.options import Options
from brokerkit.checker.report import Report
from brokerkit.checker.reporters.html import html
from brokerkit.checker.reporters.json_report import to_json
from brokerkit.checker.reporters.junit import junit
from brokerkit.checker.runner import check
from brokerkit.testing.live_server import serve

from .brokerkit_brokers import WithoutStore
from .hostile_broker import CATALOGS, PLAYS, SERVICE, Hostile, offering, plan, serving

pytestmark = pytest.mark.integration

OF_ANOTHER = ("R-PROV-3.concurrent", "R-PROV-8", "R-DEL-3")


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorten the timeouts of the check."""
    monkeypatch.setattr(checking, "_CLEANUP_SECONDS", 0.3)
    monkeypatch.setattr(checking, "_ORPHAN_SECONDS", 0.3)


def checked(url: str, **options: object) -> Report:
    login = {"username": "platform", "password": "s3cret"}
    limits = {"timeout": 0.4, "operation_timeout": 0.3}
    return check(url, Options(**{**login, **limits, **options}))  # type: ignore[arg-type]


def assert_reportable(report: Report) -> None:
    reports = (to_json(report), html(report), junit(report))
    assert all(reports)
    assert "s3cret" not in "".join(reports)
    assert all(len(text) < 20_000_000 for text in reports)


@pytest.mark.parametrize("play", PLAYS)
def test_arbitrary_responses_fail_the_check(play: str) -> None:
    """A broker with arbitrary wrong responses fails the check, and every reporter can show the report."""
    with serving(Hostile(PLAYS[play])) as url:
        report = checked(url)
    assert report.exit_code == 1
    assert_reportable(report)


@pytest.mark.parametrize("play", ["hangs", "drips"])
def test_check_gives_up_on_hanging_broker(play: str) -> None:
    broker = Hostile(PLAYS[play])
    with serving(broker) as url:
        report = checked(url, only=["R-PROV", "R-UPD", "R-BIND"], skip=["R-PROV-6.required"])
    assert report.problem is not None
    assert "no longer responds" in report.problem


@pytest.mark.parametrize("name", CATALOGS)
def test_check_survives_arbitrary_catalogs(name: str) -> None:
    """With any catalog content the check ends, deletes all resources and can be reported."""
    broker = Hostile(catalog=CATALOGS[name])
    with serving(broker) as url:
        report = checked(
            url, timeout=5.0, operation_timeout=10.0, only=["R-CAT", "R-PROV-3", "R-DEL", "R-UPD-2"]
        )
    assert report.exit_code in (1, 2)
    assert broker.there == set(), "every resource is deleted, under any id"
    assert_reportable(report)


def test_check_of_hundred_plans_limits_instances() -> None:
    plans = [plan(id=f"p{number}", name=f"p{number}") for number in range(100)]
    broker = Hostile(catalog={"services": [offering(plans=plans, bindable=False)]})
    with serving(broker) as url:
        report = checked(url, timeout=5.0, only=["R-PROV-1.created", "R-PROV-3"])
    assert len(report.plans) == 100
    puts = [request for request in broker.requests if request.startswith("PUT")]
    assert len(puts) < 700
    assert broker.there == set()


def test_errors_of_many_plans_are_abbreviated() -> None:
    plans = [plan(id=f"p{number}", name=f"p{number}") for number in range(20)]
    broker = Hostile(PLAYS["refuses everything"], catalog={"services": [offering(plans=plans)]})
    with serving(broker) as url:
        report = checked(url, only=["R-PROV-3.again"])
    assert report.problem is not None
    assert report.problem.endswith("; and 15 more")


# Checks that cannot run


def test_wrong_password_sends_only_catalog_request() -> None:
    memory = WithoutStore()
    with serve(memory.app) as url:
        report = checked(url, password="wrong")
    assert report.requests == 1
    assert report.exit_code == 2
    assert report.problem is not None
    assert "rejects the credentials" in report.problem


@pytest.mark.parametrize("play", ["sends a page", "redirects", "has no such thing", "hangs up"])
def test_url_without_broker_is_an_error(play: str) -> None:
    with serving(Hostile(catalog=PLAYS[play])) as url:
        report = checked(url)
    assert report.problem is not None
    assert "there is no catalog at /v2/catalog" in report.problem
    assert report.requests == 1


def test_unknown_plan_is_an_error() -> None:
    with serving(Hostile()) as url:
        report = checked(url, plans=["s/p", "s/other"])
    assert report.problem == "the catalog has no plan or offering s/other"


def test_parameters_for_unknown_plan_are_an_error() -> None:
    with serving(Hostile()) as url:
        report = checked(url, parameters={"unknown/none": {"provision": [{"size": 1}]}})
    assert report.problem is not None
    assert "there are parameters for unknown" in report.problem


def test_refused_connection_is_an_error() -> None:
    with serving(Hostile()) as url:
        pass
    report = checked(url)
    assert report.problem is not None
    assert "cannot be reached" in report.problem
    assert report.exit_code == 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"only": ["R-PORV"]}, "there is no rule 'R-PORV'"),
        ({"skip": ["R-CAT-55"]}, "there is no rule 'R-CAT-55'"),
        ({"only": ["R-CAT"], "skip": ["R-CAT"]}, "no rule is left to judge"),
    ],
)
def test_check_rejects_empty_rule_selection(options: dict[str, Any], message: str) -> None:
    """An unknown rule, or a selection without any rule, raises ValueError."""
    with pytest.raises(ValueError, match=message):
        check("http://127.0.0.1:9", Options(**options))


def test_parameters_option_accepts_file_format() -> None:
    broker = Hostile(catalog={"services": [SERVICE]})
    with serving(broker) as url:
        parameters = {"s/p": {"provision": {"size": 3}}}
        report = check(url, Options(parameters=parameters, only=["R-PROV-1.created"], timeout=5))
    (verdict,) = report.verdicts
    assert verdict.judged
    assert report.problem is None


def test_catalog_rules_create_no_resources() -> None:
    broker = Hostile()
    with serving(broker) as url:
        checked(url, only=["R-CAT-1", "R-CAT-2"])
    assert broker.requests == ["GET /v2/catalog"]


@pytest.mark.parametrize(
    ("skip", "instances"),
    [
        ((), 4),
        (("R-ERR-4.orphans",), 3),
        (("R-ERR-4.orphans", "R-REQ.special-ids", "R-REQ.distinct-ids"), 2),
        (("R-ERR-4.orphans", "R-REQ.special-ids", "R-REQ.distinct-ids", *OF_ANOTHER), 1),
    ],
)
def test_skipping_rules_creates_fewer_instances(skip: tuple[str, ...], instances: int) -> None:
    """Skipped rules create no instances of their own, and at most one instance exists at a time."""
    memory = WithoutStore(polls=3)
    known: set[str] = set()
    counts = [0]

    def count(response: Response) -> Response:
        known.update(memory.instances)
        counts.append(len(memory.instances))
        return response

    memory.app.after_request(count)
    with serve(memory.app) as url:
        checked(url, skip=skip, plans=["drains/drain"], timeout=5.0, operation_timeout=5.0)
    assert (
        instances - ("R-ERR-4.orphans" not in skip) <= len(known) <= instances
    )  # The DELETE request of the orphan may come first.
    assert max(counts) == 1, "there are never two instances at a time"


def test_check_leaves_no_threads() -> None:
    with serving(Hostile()) as url:
        checked(url)
    assert not [thread for thread in threading.enumerate() if thread.name == "brokerkit-check"]


# TLS


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Create a self-signed certificate with its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    signed = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(IPv4Address("127.0.0.1"))]), critical=False
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "certificate.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(signed.public_bytes(serialization.Encoding.PEM) + private)
    return path


@pytest.fixture
def tls(certificate: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


def test_self_signed_certificate_is_an_error(tls: ssl.SSLContext) -> None:
    with serving(Hostile(tls=tls)) as url:
        report = checked(url, timeout=5.0)
    assert report.problem is not None
    assert "TLS failed: certificate verify failed: self-signed certificate" in report.problem
    assert report.exit_code == 2


def test_trusted_certificate_is_accepted(tls: ssl.SSLContext, certificate: Path) -> None:
    with serving(Hostile(tls=tls)) as url:
        report = checked(url, timeout=5.0, verify=str(certificate), only=["R-CAT-1"])
    assert report.problem is None
    assert report.plans == (f"{SERVICE['name']}/p",)
