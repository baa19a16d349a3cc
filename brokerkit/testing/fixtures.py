"""What the fixtures do that stand in `pytest_brokerkit`, which loads this when one is used."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from ..client.platforms import Platform
from .introspection import CannotTell, broker_of, brokers_of, login_of
from .live_server import serve, served_at
from .step_executor import StepByStep, is_step_by_step, step_by_step
from .types import CheckBroker, Login

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

    from ..checker.report import Report
    from ..client.client import BrokerClient


def client(url: str, login: Login, platform: Platform) -> BrokerClient:
    """What `broker_client` is."""
    __tracebackhide__ = True
    with _or_fail("broker_client", ModuleNotFoundError):
        from ..client.client import BrokerClient
    return BrokerClient(url, platform=platform, mitigate_for=_MITIGATE_FOR, **_told(login))


def login(app: WSGIApplication) -> Login:
    """What `broker_login` is, where it is not told."""
    __tracebackhide__ = True
    with _or_fail("broker_login", CannotTell, remedy=_OVERRIDE_LOGIN):
        return login_of(app)


@contextmanager
def work(app: WSGIApplication) -> Iterator[StepByStep]:
    """What `broker_work` is."""
    __tracebackhide__ = True
    with ExitStack() as stack:
        with _or_fail("broker_work", CannotTell, ValueError):
            made = stack.enter_context(step_by_step(broker_of(app)))
        yield made


def checker(request: pytest.FixtureRequest, platform: Platform) -> CheckBroker:
    """What `check_broker` is."""
    __tracebackhide__ = True
    if not _has_subtests(request):
        pytest.fail("check_broker needs pytest 9; or pytest-subtests, on pytest 8", pytrace=False)
    subtests = request.getfixturevalue("subtests")

    def check_broker(target: WSGIApplication | str | None = None, /, **options: Any) -> Report:
        __tracebackhide__ = True
        with _or_fail("check_broker", ModuleNotFoundError):
            from ..checker.runner import check
        from ..checker.options import Options
        from ..checker.report import Level
        from .subtests import show

        options = dict(options)
        if platform != Platform():  # which says nothing of itself
            options.setdefault("platform", platform)
        if "level" in options:
            options["level"] = Level(options["level"])
        has_login = not {"username", "password", "token"}.isdisjoint(options)
        with ExitStack() as stack:
            if target is None:
                url = request.getfixturevalue("broker_url")
                found = None if has_login else request.getfixturevalue("broker_login")
            elif isinstance(target, str):
                url, found = target, None
            else:
                url = stack.enter_context(serve(target))
                found = None if has_login else login(target)
            _need_work_that_is_done(url)
            report = check(url, Options(**_told(found), **options))
        show(report, subtests)
        return report

    return check_broker


def _need_work_that_is_done(url: str) -> None:
    """Fail at once where the check would wait for work that nobody does while it does."""
    app = served_at(url)
    if app is not None and any(is_step_by_step(broker) for broker in brokers_of(app)):
        pytest.fail(
            "check_broker: the broker's background work is done step by step, so what the check orders would"
            " never be through; use broker_work (or step_by_step) in another test",
            pytrace=False,
        )


_MITIGATE_FOR = 5.0
"""For how many seconds a client tries to delete an orphan: no test is to wait for long."""

_OVERRIDE_LOGIN = """\
; return it in your conftest.py:

    @pytest.fixture
    def broker_login():
        return "platform", "s3cret"  # or a bearer token, or None"""


def _told(login: Login) -> dict[str, Any]:
    """The login as arguments."""
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
def _or_fail(fixture: str, *kinds: type[Exception], remedy: str = "") -> Iterator[None]:
    """Fail with what an error says, and without its traceback."""
    __tracebackhide__ = True
    try:
        yield
    except kinds as error:
        raise pytest.fail.Exception(f"{fixture}: {error}{remedy}", pytrace=False) from None
