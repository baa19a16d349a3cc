"""What is asked: requests of Cloud Foundry's, as a WSGI server has them, and the right answers."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Iterator
from io import BytesIO
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple
from uuid import uuid4
from wsgiref.types import WSGIApplication

from werkzeug.test import EnvironBuilder

from .catalog import CATALOG

USERNAME, PASSWORD = "platform", "s3cret"
DASHBOARD = "https://db.example.org/instances/"
CREDENTIALS = {
    "uri": "postgres://u7b1f4a52:3x4mpl3@db.example.org:5432/orders",
    "username": "u7b1f4a52",
    "password": "3x4mpl3",
    "hostname": "db.example.org",
    "port": 5432,
    "name": "orders",
}
PROGRESS = "Two of three nodes are up."

_RECORDED = Path(__file__).parents[1] / "data" / "cloudfoundry.jsonl"


class Reply(NamedTuple):
    """What came back."""

    status: int
    document: object


class Question(NamedTuple):
    """A request that can be asked any number of times, and what must come back."""

    endpoint: str
    environ: dict[str, Any]
    body: bytes
    right: Reply

    def fresh_environ(self) -> dict[str, Any]:
        """One to be used once: what an app notes in it, and its input, end with the request."""
        return {**self.environ, "wsgi.input": BytesIO(self.body)}


def questions() -> list[Question]:
    """One for each endpoint that has a budget."""
    recorded = _recorded()
    create = recorded["cf create-service"]
    instance_id = create["path"].rpartition("/")[2]
    return [
        _question("provision", create, Reply(201, {"dashboard_url": DASHBOARD + instance_id})),
        _question("catalog", recorded["fetch the catalog at registration"], Reply(200, CATALOG)),
        _question(
            "last operation",
            recorded["poll"],
            Reply(200, {"state": "in progress", "description": PROGRESS}),
        ),
        _question("bind", recorded["cf bind-service"], Reply(201, {"credentials": CREDENTIALS})),
    ]


def lifecycles() -> Iterator[list[Question]]:
    """Instances, each with a binding, from beginning to end: no two have an id in common."""
    template = _lifecycle()
    instance_id, _, binding_id = template[1].environ["PATH_INFO"].split("/")[3:]
    while True:
        ids = {instance_id: str(uuid4()), binding_id: str(uuid4())}
        yield [_replaced(question, ids) for question in template]


def provisions(count: int) -> list[Question]:
    """So many that have no id in common. Whoever works in the background answers them otherwise than told."""
    return [questions[0] for questions in islice(lifecycles(), count)]


def poll_of(provision: Question, operation: str, right: Reply) -> Question:
    """How a platform asks for an operation.

    Args:
        provision: What began it.
        operation: Its id.
        right: The answer.
    """
    poll = _question("last operation", _recorded()["poll"], right)
    ids = {poll.environ["PATH_INFO"].split("/")[3]: provision.environ["PATH_INFO"].split("/")[3]}
    ids["operation=OPERATION"] = f"operation={operation}"
    return _replaced(poll, ids)


def ask(app: WSGIApplication, environ: dict[str, Any]) -> Reply:
    """Send one request and read its answer."""
    statuses: list[str] = []

    def start_response(status: str, headers: object, exc_info: object = None) -> Any:
        statuses.append(status)

    chunks = app(environ, start_response)
    body = b"".join(chunks)
    if hasattr(chunks, "close"):
        chunks.close()
    return Reply(int(statuses[0][:3]), json.loads(body))


def _replaced(question: Question, ids: dict[str, str]) -> Question:
    environ, document = question.environ.copy(), json.dumps(question.right.document)
    for old, new in ids.items():
        document = document.replace(old, new)
        for name in ("PATH_INFO", "QUERY_STRING", "REQUEST_URI", "RAW_URI"):
            environ[name] = environ[name].replace(old, new)
    return question._replace(environ=environ, right=question.right._replace(document=json.loads(document)))


def _lifecycle() -> list[Question]:
    recorded = _recorded()
    create = recorded["cf create-service"]
    dashboard_url = DASHBOARD + create["path"].rpartition("/")[2]
    questions = [_question("provision", create, Reply(201, {"dashboard_url": dashboard_url}))]
    questions.append(_question("bind", recorded["cf bind-service"], Reply(201, {"credentials": CREDENTIALS})))
    for endpoint, name in (("unbind", "cf unbind-service"), ("deprovision", "cf delete-service")):
        # When these were recorded, the instance had been moved to another plan.
        query = {"query": f"service_id={create['body']['service_id']}&plan_id={create['body']['plan_id']}"}
        questions.append(_question(endpoint, recorded[name] | query, Reply(200, {})))
    return questions


def _recorded() -> dict[str, Any]:
    return {line["name"]: line for line in map(json.loads, _RECORDED.read_text("utf-8").splitlines())}


def _question(endpoint: str, recorded: dict[str, Any], right: Reply) -> Question:
    body = b"" if recorded["body"] is None else json.dumps(recorded["body"]).encode()
    token = b64encode(f"{USERNAME}:{PASSWORD}".encode()).decode()
    headers = [*recorded["headers"].items(), ("Authorization", f"Basic {token}")]
    builder = EnvironBuilder(
        recorded["path"],
        method=recorded["method"],
        query_string=recorded["query"],
        headers=headers,
        data=body or None,
    )
    return Question(endpoint, builder.get_environ(), body, right)
