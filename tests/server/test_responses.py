"""The response of a broker behaves like any other response in the hooks of the app."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask, Response, session
from werkzeug.test import TestResponse

from brokerkit import Broker, Provisioned

from ..support.broker import INSTANCE, PROVISION, Platform, Recorder, make_app

Hook = Callable[[Response], Any]


def set_json(response: Response) -> None:
    response.set_data('{"changed":true}')


def set_text_pieces(response: Response) -> None:
    response.response = ["{", "}"]


def set_no_content(response: Response) -> None:
    response.status_code = 204


def add_header(response: Response) -> None:
    response.headers["X-Added"] = "yes"


def replace_headers(response: Response) -> None:
    response.headers.clear()
    response.headers.extend({"Content-Type": "application/json", "X-New": "1"})


def set_status_line(response: Response) -> None:
    response.status = "202 Taken"


def set_cookie(response: Response) -> None:
    response.set_cookie("a", "b")


def add_etag(response: Response) -> None:
    response.add_etag()


def make_conditional(response: Response) -> None:
    response.cache_control.no_store = True


def read_it(response: Response) -> None:
    assert response.get_json() == {"dashboard_url": "https://db.example.org"}
    assert response.status == "201 CREATED"
    assert response.content_length == len(response.data)
    assert not response.direct_passthrough


HOOKS = [
    set_json,
    set_text_pieces,
    set_no_content,
    add_header,
    replace_headers,
    set_status_line,
    set_cookie,
    add_etag,
    make_conditional,
    read_it,
]


@pytest.fixture
def app(broker: Broker, recorder: Recorder) -> Flask:
    recorder.answers["provision"] = Provisioned(dashboard_url="https://db.example.org")
    return make_app(broker)


def twin(hook: Hook) -> Flask:
    """Build an app whose view returns the same response as an ordinary Flask response."""
    app = Flask("twin")

    @app.put(INSTANCE)
    def provision() -> Response:
        body = b'{"dashboard_url":"https://db.example.org"}'
        headers = {"Content-Type": "application/json", "Content-Length": str(len(body))}
        return Response([body], 201, headers)

    app.after_request(lambda response: hook(response) or response)
    return app


def ask(app: Flask, method: str = "PUT") -> TestResponse:
    platform = Platform(app)
    return app.test_client().open(INSTANCE, method=method, json=PROVISION, headers=platform.headers)


@pytest.mark.parametrize("hook", HOOKS)
def test_after_request_hook_changes_response(app: Flask, hook: Hook) -> None:
    """A hook has the same effect on a broker response as on an ordinary Flask response."""
    app.after_request(lambda response: hook(response) or response)
    ours, ordinary = ask(app), ask(twin(hook))
    assert ours.status == ordinary.status
    assert ours.data == ordinary.data
    assert dict(ours.headers) == dict(ordinary.headers)


def test_call_on_close_callback_runs(app: Flask) -> None:
    done: list[str] = []

    @app.after_request
    def at_the_end(response: Response) -> Response:
        response.call_on_close(lambda: done.append("closed"))
        return response

    with ask(app) as response:
        assert response.status_code == 201
    assert done == ["closed"]


def test_app_response_class_is_used(app: Flask) -> None:
    class Branded(Response):
        def __init__(self, *parts: Any, **more: Any) -> None:
            super().__init__(*parts, **more)

        def get_wsgi_headers(self, environ: Any) -> Any:
            headers = super().get_wsgi_headers(environ)
            headers["X-Brand"] = "ours"
            return headers

    app.response_class = Branded
    response = ask(app)
    assert (response.status_code, response.headers["X-Brand"]) == (201, "ours")
    assert response.json == {"dashboard_url": "https://db.example.org"}


def test_app_session_is_saved(app: Flask) -> None:
    app.secret_key = "for the test"

    @app.before_request
    def remember() -> None:
        session["seen"] = True

    assert "session=" in ask(app).headers["Set-Cookie"]


def test_response_missing_attribute_raises_attribute_error(app: Flask) -> None:
    """The failed access leaves the response usable."""
    statuses: list[str] = []

    @app.after_request
    def ask_for_more(response: Response) -> Response:
        for _ in range(2):
            with pytest.raises(AttributeError, match="no_such_thing"):
                response.no_such_thing  # type: ignore[attr-defined]  # noqa: B018
            statuses.append(response.status)
        return response

    assert ask(app).status_code == 201
    assert statuses == ["201 CREATED", "201 CREATED"]
