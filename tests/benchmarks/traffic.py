"""Requests of Cloud Foundry as WSGI environs, and the expected responses."""

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
    """A response."""

    status: int
    document: object


class Exchange(NamedTuple):
    """A request that can be sent any number of times, and its expected response."""

    endpoint: str
    environ: dict[str, Any]
    body: bytes
    expected: Reply

    def fresh_environ(self) -> dict[str, Any]:
        """Return an environ for one request: apps change it, and its input can be read once."""
        return {**self.environ, "wsgi.input": BytesIO(self.body)}


def exchanges() -> list[Exchange]:
    """Return one exchange per endpoint with a budget."""
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


def lifecycles() -> Iterator[list[Exchange]]:
    """Yield lifecycles of instances with a binding, all with different ids."""
    template = _lifecycle()
    instance_id, _, binding_id = template[1].environ["PATH_INFO"].split("/")[3:]
    while True:
        ids = {instance_id: str(uuid4()), binding_id: str(uuid4())}
        yield [_replaced(exchange, ids) for exchange in template]


def provisions(count: int) -> list[Exchange]:
    """Return provisions with different ids. Brokers with background handlers give other responses."""
    return [exchanges[0] for exchanges in islice(lifecycles(), count)]


def poll_of(provision: Exchange, operation: str, expected: Reply) -> Exchange:
    """Return a poll of an operation.

    Args:
        provision: The request that started the operation.
        operation: The operation's id.
        expected: The expected response.
    """
    poll = _question("last operation", _recorded()["poll"], expected)
    ids = {poll.environ["PATH_INFO"].split("/")[3]: provision.environ["PATH_INFO"].split("/")[3]}
    ids["operation=OPERATION"] = f"operation={operation}"
    return _replaced(poll, ids)


def send(app: WSGIApplication, environ: dict[str, Any]) -> Reply:
    """Send one request and return the response."""
    statuses: list[str] = []

    def start_response(status: str, headers: object, exc_info: object = None) -> Any:
        statuses.append(status)

    chunks = app(environ, start_response)
    body = b"".join(chunks)
    if hasattr(chunks, "close"):
        chunks.close()
    return Reply(int(statuses[0][:3]), json.loads(body))


def _replaced(exchange: Exchange, ids: dict[str, str]) -> Exchange:
    environ, document = exchange.environ.copy(), json.dumps(exchange.expected.document)
    for old, new in ids.items():
        document = document.replace(old, new)
        for name in ("PATH_INFO", "QUERY_STRING", "REQUEST_URI", "RAW_URI"):
            environ[name] = environ[name].replace(old, new)
    return exchange._replace(
        environ=environ, expected=exchange.expected._replace(document=json.loads(document))
    )


def _lifecycle() -> list[Exchange]:
    recorded = _recorded()
    create = recorded["cf create-service"]
    dashboard_url = DASHBOARD + create["path"].rpartition("/")[2]
    exchanges = [_question("provision", create, Reply(201, {"dashboard_url": dashboard_url}))]
    exchanges.append(_question("bind", recorded["cf bind-service"], Reply(201, {"credentials": CREDENTIALS})))
    for endpoint, name in (("unbind", "cf unbind-service"), ("deprovision", "cf delete-service")):
        # In the recording, an update had changed the plan before these requests.
        query = {"query": f"service_id={create['body']['service_id']}&plan_id={create['body']['plan_id']}"}
        exchanges.append(_question(endpoint, recorded[name] | query, Reply(200, {})))
    return exchanges


def _recorded() -> dict[str, Any]:
    return {line["name"]: line for line in map(json.loads, _RECORDED.read_text("utf-8").splitlines())}


def _question(endpoint: str, recorded: dict[str, Any], expected: Reply) -> Exchange:
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
    return Exchange(endpoint, builder.get_environ(), body, expected)
