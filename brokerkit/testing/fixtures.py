"""The implementation of the fixtures in `pytest_brokerkit`, which imports this module on first use."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from ..client.platforms import Platform
from .introspection import UnknownBroker, UnknownLogin, broker_of, brokers_of, login_of
from .live_server import serve, served_at
from .step_executor import StepByStep, is_step_by_step, step_by_step
from .types import CheckBroker, Login

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

    from ..checker.report import Report
    from ..client.client import BrokerClient


def client(url: str, login: Login, platform: Platform) -> BrokerClient:
    """Create the client of the fixture `broker_client`."""
    __tracebackhide__ = True
    with _fail_on("broker_client", ModuleNotFoundError):
        from ..client.client import BrokerClient
    return BrokerClient(url, platform=platform, mitigate_for=_MITIGATE_FOR, **_login_arguments(login))


def login(app: WSGIApplication) -> Login:
    """Return the default of the fixture `broker_login`: the login of an app's broker."""
    __tracebackhide__ = True
    with _fail_on("broker_login", UnknownBroker, UnknownLogin, remedy=_OVERRIDE_LOGIN):
        return login_of(app)


@contextmanager
def work(app: WSGIApplication) -> Iterator[StepByStep]:
    """Yield the step executor of the fixture `broker_work`."""
    __tracebackhide__ = True
    with ExitStack() as stack:
        with _fail_on("broker_work", UnknownBroker, ValueError):
            executor = stack.enter_context(step_by_step(broker_of(app)))
        yield executor


def checker(request: pytest.FixtureRequest, platform: Platform) -> CheckBroker:
    """Create the function of the fixture `check_broker`."""
    __tracebackhide__ = True
    if not _has_subtests(request):
        pytest.fail("check_broker needs pytest 9, or pytest 8 with pytest-subtests", pytrace=False)
    subtests = request.getfixturevalue("subtests")

    def check_broker(target: WSGIApplication | str | None = None, /, **options: Any) -> Report:
        __tracebackhide__ = True
        with _fail_on("check_broker", ModuleNotFoundError):
            from ..checker.runner import check
        from ..checker.options import Options
        from ..checker.report import Level
        from .subtests import report_subtests

        options = dict(options)
        if platform != Platform():  # the default platform sends no headers about itself
            options.setdefault("platform", platform)
        if "level" in options:
            options["level"] = Level(options["level"])
        has_login = not {"username", "password", "token"}.isdisjoint(options)
        with ExitStack() as stack:
            default_login: Login = None
            if target is None:
                url = request.getfixturevalue("broker_url")
                if not has_login:
                    default_login = request.getfixturevalue("broker_login")
            elif isinstance(target, str):
                url = target
            else:
                url = stack.enter_context(serve(target))
                if not has_login:
                    default_login = login(target)
            _fail_if_step_by_step(url)
            report = check(url, Options(**_login_arguments(default_login), **options))
        report_subtests(report, subtests)
        return report

    return check_broker


def _fail_if_step_by_step(url: str) -> None:
    """Fail immediately if the check would wait for background work that only the test itself can run."""
    app = served_at(url)
    if app is not None and any(is_step_by_step(broker) for broker in brokers_of(app)):
        pytest.fail(
            "check_broker: this test runs the broker's background work step by step, so the operations of the"
            " check would never finish; use broker_work (or step_by_step) in another test",
            pytrace=False,
        )


_MITIGATE_FOR = 5.0
"""Seconds that a client tries to delete an orphan; short, so that no test waits for long."""

_OVERRIDE_LOGIN = """\
; return it in your conftest.py:

    @pytest.fixture
    def broker_login():
        return "platform", "s3cret"  # or a bearer token, or None"""


def _login_arguments(login: Login) -> dict[str, Any]:
    """Convert a login into keyword arguments."""
    match login:
        case None:
            return {}
        case str():
            return {"token": login}
        case (str(username), str(password)):
            return {"username": username, "password": password}
    pytest.fail(
        f"broker_login returned a {type(login).__name__}; return a username and password, a token, or None",
        pytrace=False,
    )


def _has_subtests(request: pytest.FixtureRequest) -> bool:
    try:
        request.getfixturevalue("subtests")
    except pytest.FixtureLookupError:
        return False
    return True


@contextmanager
def _fail_on(fixture: str, *kinds: type[Exception], remedy: str = "") -> Iterator[None]:
    """Fail the test with the text of an error, without a traceback."""
    __tracebackhide__ = True
    try:
        yield
    except kinds as error:
        raise pytest.fail.Exception(f"{fixture}: {error}{remedy}", pytrace=False) from None
