"""The fixture `check_broker`: the checker in tests of a broker, with a subtest for each rule."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from brokerkit.checker import runner as entry
from brokerkit.checker.options import Options
from brokerkit.checker.report import Failure, Leftover, Level, Report, Verdict
from brokerkit.client.exchange import Exchange
from brokerkit.client.platforms import korifi

from .conftest import BROKER, STRICT, fails_with, run

pytestmark = pytest.mark.integration

pytest_plugins = ["pytester"]

EXCHANGE = Exchange(
    method="PUT",
    url="http://127.0.0.1:1/v2/service_instances/i1",
    headers={},
    body=b'{"password": "hunter2"}',
    status=409,
    response_body=b'{"description": "It is \\u001b[31m there"}',
)


def report(**fields: Any) -> Report:
    failure = Failure(where="db/small", fault="returned 409", exchange=EXCHANGE)
    verdicts = [
        Verdict(key="R-CAT-1", level=Level.MUST, sentence="There is a catalog.", judged=1),
        Verdict(
            key="R-PROV-3.again",
            level=Level.SHOULD,
            sentence="The same PUT is 200.",
            judged=5,
            failures=[failure] * 5,
        ),
        Verdict(key="R-BIND-1", level=Level.MUST, sentence="A binding.", why="nothing can be bound"),
    ]
    return Report(
        **{
            "url": "http://127.0.0.1:1",
            "started_at": datetime.now(UTC),
            "seconds": 1.0,
            "requests": 9,
            "plans": ["db/small"],
            "verdicts": verdicts,
            **fields,
        }
    )


Calls = list[tuple[str, Options]]
Checks = Callable[[Report], Calls]


@pytest.fixture
def checks(monkeypatch: pytest.MonkeyPatch) -> Checks:
    """A replacement of the check that returns a given report and records its arguments."""

    def find(given: Report) -> Calls:
        calls: Calls = []

        def check(url: str, options: Options) -> Report:
            calls.append((url, options))
            return given

        monkeypatch.setattr(entry, "check", check)
        return calls

    return find


CHECK = "def test_it_is_good(check_broker): check_broker()"


def test_each_rule_is_a_subtest(project: pytest.Pytester, checks: Checks) -> None:
    checks(report())
    result = run(project, CHECK, "-v", "-rs")
    result.stdout.fnmatch_lines(
        [
            "*SUBPASSED*R-CAT-1*",
            "*SUBFAILED*R-PROV-3.again*",
            "*SUBSKIPPED*R-BIND-1*",
            "*nothing can be bound*",
        ]
    )
    assert result.ret == pytest.ExitCode.TESTS_FAILED


def test_failed_rule_shows_exchange_and_curl_command(project: pytest.Pytester, checks: Checks) -> None:
    checks(report())
    result = run(project, CHECK)
    fails_with(
        result,
        "test_it_is_good*R-PROV-3.again*",
        "R-PROV-3.again (SHOULD): The same PUT is 200.",
        "db/small: returned 409",
        "request  PUT /v2/service_instances/i1",
        r'response 409 {"description":"It is \u001b[[]31m there"}',
        "repeat   curl -i -X PUT",
        "and 2 times more",
    )
    output = result.stdout.str()
    assert "hunter2" not in output
    assert output.count("db/small: returned 409") == 3


@pytest.mark.parametrize(
    ("fields", "expected_text"),
    [
        ({"problem": "the broker is gone"}, "The check did not finish: the broker is gone."),
        (
            {
                "leftovers": [
                    Leftover(
                        what="service instance", instance_id="i1", binding_id=None, why="500", curl="curl x"
                    )
                ]
            },
            "could not be deleted: service instance i1: 500",
        ),
    ],
)
def test_aborted_check_or_leftovers_fail_the_test(
    project: pytest.Pytester, checks: Checks, fields: dict[str, Any], expected_text: str
) -> None:
    good = [Verdict(key="R-CAT-1", level=Level.MUST, sentence="There is a catalog.", judged=1)]
    checks(report(verdicts=good, **fields))
    result = run(project, CHECK)
    result.assert_outcomes(failed=1)
    fails_with(result, expected_text)


@pytest.mark.parametrize(
    ("call", "username"),
    [
        ("check_broker()", "platform"),
        ("check_broker(app)", "platform"),
        ("check_broker('http://127.0.0.1:1')", None),
        ("check_broker(app, username='other', password='x')", "other"),
        ("check_broker(username='other', password='x')", "other"),
    ],
)
def test_check_broker_chooses_login_for_target(
    project: pytest.Pytester, checks: Checks, call: str, username: str | None
) -> None:
    """An app is checked with its own login, and a URL only with the given login."""
    calls = checks(report(verdicts=[]))
    result = run(project, f"from app import app\ndef test_it(check_broker): assert {call}.requests == 9")
    result.assert_outcomes(passed=1)
    ((url, options),) = calls
    assert options.username == username
    assert url.startswith("http://127.0.0.1:")


@pytest.mark.parametrize("call", ["check_broker()", "check_broker(app)", "check_broker(broker_url)"])
@pytest.mark.parametrize("how", ["broker_work", "step_by_step"])
def test_check_broker_rejects_step_by_step_work(
    project: pytest.Pytester, checks: Checks, call: str, how: str
) -> None:
    calls = checks(report())
    source = f"""
        import contextlib
        from app import app, broker
        from brokerkit.testing import step_by_step

        def test_it(check_broker, broker_url, {how if how == "broker_work" else "request"}):
            with step_by_step(broker) if {how == "step_by_step"} else contextlib.nullcontext():
                {call}
    """
    fails_with(run(project, source), "check_broker: this test runs the broker's background work step by step")
    assert calls == []


def test_check_broker_works_after_step_by_step(project: pytest.Pytester, checks: Checks) -> None:
    checks(report(verdicts=[]))
    source = """
        from app import broker
        from brokerkit.testing import step_by_step

        def test_it(check_broker):
            with step_by_step(broker):
                pass
            check_broker()
    """
    run(project, source).assert_outcomes(passed=1)


@pytest.mark.rule("R-PROV-3")
@pytest.mark.parametrize(
    ("store", "broken"), [('"sqlite://"', None), ("None", "SUBFAILED[[]R-PROV-3")], ids=["right", "wrong"]
)
def test_check_broker_runs_the_real_checker(project: pytest.Pytester, store: str, broken: str | None) -> None:
    """With a store the broker keeps the rules.

    Without a store its handlers lose the created resources and R-PROV-3 fails.
    """
    source = BROKER.replace('"sqlite://"', store).replace("(background=True)", "")
    project.makepyfile(app=source.replace('    yield "Making a volume"', "    return"))
    result = run(project, CHECK)
    if broken is None:
        result.assert_outcomes(passed=1)
    else:
        fails_with(result, broken)


def test_check_broker_passes_options_to_checker(project: pytest.Pytester, checks: Checks) -> None:
    calls = checks(report(verdicts=[]))
    source = """
        def test_it(check_broker):
            check_broker(level="MUST", platform="korifi", skip=["R-CAT-8"])
    """
    run(project, source).assert_outcomes(passed=1)
    ((_, options),) = calls
    assert (options.level, options.platform, options.skip) == (Level.MUST, "korifi", ["R-CAT-8"])


@pytest.mark.parametrize(
    ("fixture", "call", "platform"),
    [
        ("", "check_broker()", None),
        ("korifi()", "check_broker()", korifi()),
        ("korifi()", "check_broker(platform='kubernetes')", "kubernetes"),
    ],
)
def test_check_broker_defaults_to_fixture_platform(
    project: pytest.Pytester, checks: Checks, fixture: str, call: str, platform: object
) -> None:
    calls = checks(report(verdicts=[]))
    overridden = f"""
        @pytest.fixture
        def broker_platform(): return {fixture}
    """
    source = f"""
        import pytest
        from brokerkit.testing import korifi
        {overridden if fixture else ""}
        def test_it(check_broker): {call}
    """
    run(project, source).assert_outcomes(passed=1)
    ((_, options),) = calls
    assert options.platform == platform


def test_exitfirst_stops_at_first_failed_rule(project: pytest.Pytester, checks: Checks) -> None:
    checks(report())
    fails_with(run(project, CHECK, "-x"), "R-PROV-3.again (SHOULD)")


def test_subtests_work_with_pytest_xdist(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        test_broker="""
        from brokerkit.checker import runner as module
        from brokerkit.checker.report import Level, Report, Verdict
        from datetime import datetime, UTC

        def test_it(check_broker, monkeypatch):
            good = Verdict(key="R-CAT-1", level=Level.MUST, sentence="x", judged=1)
            results = Report(
                url="u", started_at=datetime.now(UTC), seconds=1, requests=1, plans=[], verdicts=[good]
            )
            monkeypatch.setattr(module, "check", lambda url, options: results)
            check_broker("http://127.0.0.1:1")
        """
    )
    result = pytester.runpytest_subprocess(*STRICT, "-n1", "-v")
    result.stdout.fnmatch_lines(["*SUBPASSED*R-CAT-1*"])
    assert result.ret == 0


def test_missing_subtests_support_names_requirement(project: pytest.Pytester) -> None:
    result = run(project, CHECK, "-p", "no:subtests")
    fails_with(result, "check_broker needs pytest 9, or pytest 8 with pytest-subtests")
