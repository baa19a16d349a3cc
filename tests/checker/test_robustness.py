"""The checker comes to an end, whatever a broker answers, and says what it could not do."""

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

OF_ANOTHER = ("R-PROV-3.at-once", "R-PROV-8", "R-DEL-3")


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Gives up sooner."""
    monkeypatch.setattr(checking, "_CLEAN_UP_FOR", 0.3)
    monkeypatch.setattr(checking, "_ORPHANS_FOR", 0.3)


def checked(url: str, **options: object) -> Report:
    login = {"username": "platform", "password": "s3cret"}
    limits = {"timeout": 0.4, "operation_timeout": 0.3}
    return check(url, Options(**{**login, **limits, **options}))  # type: ignore[arg-type]


def assert_it_can_be_told(report: Report) -> None:
    told = (to_json(report), html(report), junit(report))
    assert all(told)
    assert "s3cret" not in "".join(told)
    assert all(len(each) < 20_000_000 for each in told)


@pytest.mark.parametrize("play", PLAYS)
def test_a_broker_that_answers_with_anything_is_found_to_be_wrong(play: str) -> None:
    with serving(Hostile(PLAYS[play])) as url:
        report = checked(url)
    assert report.exit_code == 1
    assert_it_can_be_told(report)


@pytest.mark.parametrize("play", ["hangs", "drips"])
def test_a_broker_that_answers_nothing_any_more_is_not_asked_for_ever(play: str) -> None:
    broker = Hostile(PLAYS[play])
    with serving(broker) as url:
        report = checked(url, only=["R-PROV", "R-UPD", "R-BIND"], skip=["R-PROV-6.required"])
    assert report.trouble is not None
    assert "answers no more" in report.trouble


@pytest.mark.parametrize("name", CATALOGS)
def test_a_catalog_may_have_anything_in_it(name: str) -> None:
    broker = Hostile(catalog=CATALOGS[name])
    with serving(broker) as url:
        report = checked(
            url, timeout=5.0, operation_timeout=10.0, only=["R-CAT", "R-PROV-3", "R-DEL", "R-UPD-2"]
        )
    assert report.exit_code in (1, 2)
    assert broker.there == set(), "all is deleted, under whatever id"
    assert_it_can_be_told(report)


def test_a_hundred_plans_are_worked_through_with_few_instances_of_each() -> None:
    plans = [plan(id=f"p{number}", name=f"p{number}") for number in range(100)]
    broker = Hostile(catalog={"services": [offering(plans=plans, bindable=False)]})
    with serving(broker) as url:
        report = checked(url, timeout=5.0, only=["R-PROV-1.created", "R-PROV-3"])
    assert len(report.plans) == 100
    made = [each for each in broker.requests if each.startswith("PUT")]
    assert len(made) < 700
    assert broker.there == set()


def test_the_troubles_of_many_plans_are_told_shortly() -> None:
    plans = [plan(id=f"p{number}", name=f"p{number}") for number in range(20)]
    broker = Hostile(PLAYS["refuses everything"], catalog={"services": [offering(plans=plans)]})
    with serving(broker) as url:
        report = checked(url, only=["R-PROV-3.again"])
    assert report.trouble is not None
    assert report.trouble.endswith("; and 15 more")


# There is nothing to check


def test_with_a_wrong_password_nothing_is_asked_but_the_catalog() -> None:
    memory = WithoutStore()
    with serve(memory.app) as url:
        report = checked(url, password="wrong")
    assert report.requests == 1
    assert report.exit_code == 2
    assert report.trouble is not None
    assert "refuses the login" in report.trouble


@pytest.mark.parametrize("play", ["sends a page", "redirects", "has no such thing", "hangs up"])
def test_what_is_no_broker_is_trouble(play: str) -> None:
    with serving(Hostile(catalog=PLAYS[play])) as url:
        report = checked(url)
    assert report.trouble is not None
    assert "there is no catalog at /v2/catalog" in report.trouble
    assert report.requests == 1


def test_plans_that_are_not_in_the_catalog_are_trouble() -> None:
    with serving(Hostile()) as url:
        report = checked(url, plans=["s/p", "s/other"])
    assert report.trouble == "the catalog has no plan or offering s/other"


def test_parameters_for_what_is_not_in_the_catalog_are_trouble() -> None:
    with serving(Hostile()) as url:
        report = checked(url, parameters={"nobody/none": {"provision": [{"size": 1}]}})
    assert report.trouble is not None
    assert "there are parameters for nobody" in report.trouble


def test_where_nobody_listens_is_trouble() -> None:
    with serving(Hostile()) as url:
        pass
    report = checked(url)
    assert report.trouble is not None
    assert "cannot be reached" in report.trouble
    assert report.exit_code == 2


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"only": ["R-PORV"]}, "there is no rule 'R-PORV'"),
        ({"skip": ["R-CAT-55"]}, "there is no rule 'R-CAT-55'"),
        ({"only": ["R-CAT"], "skip": ["R-CAT"]}, "no rule is left to judge"),
    ],
)
def test_a_check_without_rules_is_refused(options: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        check("http://127.0.0.1:9", Options(**options))


def test_parameters_are_told_as_in_a_file() -> None:
    broker = Hostile(catalog={"services": [SERVICE]})
    with serving(broker) as url:
        told = {"s/p": {"provision": {"size": 3}}}
        report = check(url, Options(parameters=told, only=["R-PROV-1.created"], timeout=5))
    (verdict,) = report.verdicts
    assert verdict.judged
    assert report.trouble is None


def test_rules_of_the_catalog_alone_order_nothing() -> None:
    broker = Hostile()
    with serving(broker) as url:
        checked(url, only=["R-CAT-1", "R-CAT-2"])
    assert broker.requests == ["GET /v2/catalog"]


@pytest.mark.parametrize(
    ("skip", "made"),
    [
        ((), 4),
        (("R-ERR-4.orphans",), 3),
        (("R-ERR-4.orphans", "R-REQ.odd-ids", "R-REQ.ids-apart"), 2),
        (("R-ERR-4.orphans", "R-REQ.odd-ids", "R-REQ.ids-apart", *OF_ANOTHER), 1),
    ],
)
def test_who_skips_the_rules_for_it_has_no_more_instances_made(skip: tuple[str, ...], made: int) -> None:
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
    assert made - ("R-ERR-4.orphans" not in skip) <= len(known) <= made  # an orphan's delete may come first
    assert max(counts) == 1, "never two at a time"


def test_no_thread_is_left() -> None:
    with serving(Hostile()) as url:
        checked(url)
    assert not [each for each in threading.enumerate() if each.name == "brokerkit-check"]


# TLS


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate that signed itself, with its key."""
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


def test_a_certificate_that_signed_itself_is_trouble_that_says_so(tls: ssl.SSLContext) -> None:
    with serving(Hostile(tls=tls)) as url:
        report = checked(url, timeout=5.0)
    assert report.trouble is not None
    assert "TLS failed: certificate verify failed: self-signed certificate" in report.trouble
    assert report.exit_code == 2


def test_and_none_if_it_is_trusted(tls: ssl.SSLContext, certificate: Path) -> None:
    with serving(Hostile(tls=tls)) as url:
        report = checked(url, timeout=5.0, verify=str(certificate), only=["R-CAT-1"])
    assert report.trouble is None
    assert report.plans == (f"{SERVICE['name']}/p",)
