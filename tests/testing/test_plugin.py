"""The fixtures of the pytest plugin, as the author of a broker sees them in tests of their own."""

from __future__ import annotations

import sys

import pytest

from .conftest import BROKER, CONFTEST, STRICT, fails_with, run

pytestmark = pytest.mark.integration

pytest_plugins = ["pytester"]


# Inert


def test_plugin_is_registered_and_loads_lazily(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import sys

        def test_nothing_is_loaded(pytestconfig):
            assert pytestconfig.pluginmanager.get_plugin("brokerkit") is sys.modules["pytest_brokerkit"]
            for name in ("brokerkit", "flask", "werkzeug", "requests", "msgspec", "sqlalchemy"):
                assert name not in sys.modules
        """
    )
    result = pytester.runpytest_subprocess(*STRICT, "-p", "no:xdist", "-p", "no:randomly")
    result.assert_outcomes(passed=1)


def test_fixtures_have_descriptions(pytester: pytest.Pytester) -> None:
    result = pytester.runpytest_inprocess(*STRICT, "--fixtures")
    for name in ("app", "url", "login", "platform", "client", "work"):
        result.stdout.fnmatch_lines([f"broker_{name} -- *", "    [A-Z]*"])
    result.stdout.fnmatch_lines(["check_broker -- *"])


# The client


def test_broker_client_uses_real_port_and_login(project: pytest.Pytester) -> None:
    source = """
        import re

        def test_it(broker_client, broker_url, broker_login):
            assert re.fullmatch(r"http://127.0.0.1:[0-9]+", broker_url)
            assert broker_login == ("platform", "s3cret")
            assert broker_client.catalog().services[0].name == "db"

        def test_once_more(broker_client):
            assert broker_client.catalog().services[0].name == "db"
    """
    run(project, source).assert_outcomes(passed=2)


def test_broker_client_can_be_each_platform(project: pytest.Pytester) -> None:
    source = """
        import pytest
        from brokerkit.signals import request_finished
        from brokerkit.testing import cloudfoundry, korifi, kubernetes

        @pytest.fixture(params=[cloudfoundry(), korifi(), kubernetes()], ids=["cf", "korifi", "k8s"])
        def broker_platform(request):
            return request.param

        def test_who(broker_client, broker_platform):
            requests_seen = []

            def hear(sender, request, **extra):
                requests_seen.append(request)

            with request_finished.connected_to(hear):
                broker_client.provision("i1", "offering-id", "plan-id")
                broker_client.deprovision("i1", "offering-id", "plan-id")
            identity = requests_seen[0].headers.originating_identity
            assert (identity.platform if identity else None) == broker_platform.name
    """
    run(project, source, "-v").assert_outcomes(passed=3)


def test_missing_app_fixture_explains_override(pytester: pytest.Pytester) -> None:
    result = run(pytester, "def test_it(broker_client): pass")
    result.assert_outcomes(errors=1)
    fails_with(
        result, "broker_app: no app to test is configured; return it in your conftest.py:", "def broker_app"
    )


@pytest.mark.parametrize(
    ("auth", "why"),
    [
        ("osb.BasicAuth('platform', 'pbkdf2:sha256:1$a$b0')", "the broker has only the hash"),
        ("lambda request: True", "the broker authenticates by <lambda>"),
    ],
)
def test_unknown_login_explains_override(project: pytest.Pytester, auth: str, why: str) -> None:
    project.makepyfile(app=BROKER.replace('osb.BasicAuth("platform", "s3cret")', auth))
    result = run(project, "def test_it(broker_client): pass")
    result.assert_outcomes(errors=1)
    fails_with(result, f"broker_login: {why}*; return it in your conftest.py:", "def broker_login")


@pytest.mark.parametrize(
    ("login", "auth"),
    [
        ('("platform", "s3cret")', "osb.BasicAuth('platform', 's3cret')"),
        ('"t0ken"', "osb.BearerAuth('t0ken')"),
        ("None", "osb.NoAuth()"),
    ],
)
def test_remote_broker_uses_url_and_login_fixtures(project: pytest.Pytester, login: str, auth: str) -> None:
    project.makepyfile(app=BROKER.replace('osb.BasicAuth("platform", "s3cret")', auth))
    project.makeconftest(
        f"""
        import pytest
        from app import app, broker
        from brokerkit.testing import serve

        @pytest.fixture(scope="session")
        def broker_url():
            with serve(app) as url:
                yield url
            broker.close()

        @pytest.fixture
        def broker_login():
            return {login}
        """
    )
    source = "def test_it(broker_client): assert broker_client.catalog().services"
    run(project, source).assert_outcomes(passed=1)


def test_invalid_login_is_rejected_and_hidden(project: pytest.Pytester) -> None:
    source = """
        import pytest

        @pytest.fixture
        def broker_login():
            return {"platform": "s3cret"}

        def test_it(broker_client): pass
    """
    result = run(project, source, "--tb=short")
    fails_with(result, "broker_login returned a dict; return a username and password, a token, or None")


@pytest.mark.parametrize("fixture", ["broker_client", "check_broker"])
def test_missing_requests_gives_one_line_error(
    project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, fixture: str
) -> None:
    for name in ("brokerkit.client.client", "brokerkit.checker.runner", "brokerkit.client.transport"):
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "requests", None)
    use = "check_broker()" if fixture == "check_broker" else "pass"
    result = run(project, f"def test_it({fixture}): {use}")
    remedy = "pip install 'osb-brokerkit"
    fails_with(result, f"{fixture}: the client needs the package requests: {remedy}")


# Step by step


def test_broker_work_runs_background_work_stepwise(project: pytest.Pytester) -> None:
    source = """
        def test_it(broker_client, broker_work):
            accepted = broker_client.provision("i1", "offering-id", "plan-id")
            assert broker_client.last_operation("i1").description is None
            step = broker_work.step()
            assert step.operation == accepted.operation
            assert step.description == "Making a volume"
            assert broker_client.last_operation("i1").description == "Making a volume"
            broker_work.run_pending()
            broker_work.advance(30)
            broker_work.run_pending()
            assert broker_client.last_operation("i1").state == "succeeded"

        def test_waiting_takes_no_time(broker_client, broker_work):
            broker_client.provision("i2", "offering-id", "plan-id")
            assert broker_client.wait("i2", sleep=broker_work.sleep).state == "succeeded"
    """
    project.makeconftest(CONFTEST.replace("    broker.close()", ""))
    run(project, source).assert_outcomes(passed=2)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ((', store="sqlite://"', ""), "the broker has no store, so it has no background work"),
        (("app.register_blueprint(broker.blueprint)", ""), "the app 'app' has no broker"),
    ],
)
def test_broker_work_requires_broker_with_store(
    project: pytest.Pytester, change: tuple[str, str], why: str
) -> None:
    source = BROKER.replace(*change).replace("(background=True)", "").replace("yield", "#")
    project.makepyfile(app=source)
    fails_with(run(project, "def test_it(broker_work): pass"), f"broker_work: *{why}")
