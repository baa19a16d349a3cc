"""Serves hello.py and sends it what Cloud Foundry, Korifi and Kubernetes send, before your eyes.

Each line is a request: what the platform does, the status, and what came back. In the last scene the server
is killed while it makes a database. Ends with 1 if an answer is not what the API's rules say.
"""

from __future__ import annotations

import base64
import http.client
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Thread
from typing import Any, NamedTuple

HERE = Path(__file__).parent
TRAFFIC = HERE.parent / "tests" / "data"
LOGIN = "Basic " + base64.b64encode(b"platform:s3cret").decode()
SMALL, LARGE = (f"5c1c3c6e-0c2b-4e0c-9f0a-3a4b8b1d00{plan}" for plan in ("11", "12"))
POLL_EVERY = 0.2
HALF_WAY = "Starting the server"
LEASE = 3
"""For how many seconds a server that was killed is taken to be alive; 30, if nobody says another number."""

SCENES = (
    ("Cloud Foundry orders a small database, which is there at once", "cloudfoundry", SMALL),
    ("Cloud Foundry orders a large one, which takes a while", "cloudfoundry", LARGE),
    ("Korifi orders a small one", "korifi", SMALL),
    ("Kubernetes orders a small one", "kubernetes", SMALL),
    ("Kubernetes orders a large one", "kubernetes", LARGE),
)

RULES: dict[tuple[str, str, bool], set[int]] = {
    ("GET", "catalog", False): {200},
    ("PUT", "instance", False): {201, 202},  # R-PROV-1
    ("PUT", "instance", True): {200, 202},  # R-PROV-3, R-PROV-4
    ("GET", "instance", True): {200},
    ("PATCH", "instance", True): {200, 202},  # R-UPD-1
    ("DELETE", "instance", True): {200, 202},  # R-DEL-1
    ("DELETE", "instance", False): {410},
    ("PUT", "binding", False): {201, 202},  # R-BIND-1
    ("PUT", "binding", True): {200, 202},
    ("GET", "binding", True): {200},
    ("DELETE", "binding", True): {200, 202},  # R-UNB-1
    ("DELETE", "binding", False): {410},
    ("GET", "last_operation", True): {200},  # R-LAST-1
}
"""Which statuses a platform may get, by method, resource, and whether that is there already."""


class Answer(NamedTuple):
    """What came back."""

    status: int
    body: dict[str, Any]
    identity: str | None


class Platform:
    """Sends requests one after the other, and remembers what it has ordered."""

    def __init__(self, port: int) -> None:
        self.connect(port)
        self.there: set[str] = set()
        self.accepted: Answer | None = None
        self.sent = 0
        self.wrong = 0

    def connect(self, port: int) -> None:
        """Speak to the server on this port from now on."""
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)

    def play(self, requests: list[dict[str, Any]]) -> None:
        """Send what a platform sends, polling where the answer is 202."""
        for number, request in enumerate(requests):
            path = request["path"]
            if path.endswith("/last_operation"):
                if self.accepted is None:
                    say(request["name"], "-", "not needed: the answer before was final", "dim")
                else:
                    self.poll(request)
                continue
            answer = self.send(request)
            self.accepted = answer if answer.status == 202 else None
            polled_later = any(later["path"] == f"{path}/last_operation" for later in requests[number:])
            if self.accepted and not polled_later:
                self.poll({**request, "name": "poll", "method": "GET", "path": f"{path}/last_operation"})

    def poll(self, request: dict[str, Any]) -> None:
        """Ask until it is done."""
        operation = self.accepted.body.get("operation", "") if self.accepted else ""
        query = re.sub("operation=OPERATION", f"operation={operation}", request["query"])
        while True:
            answer = self.send({**request, "query": query, "body": None})
            state = answer.body.get("state")
            if answer.status != 200 or state != "in progress":
                self.accepted = None
                self.wrong += state != "succeeded"
                return
            time.sleep(POLL_EVERY)

    def send(self, request: dict[str, Any]) -> Answer:
        """Send one request, print a line about it, and judge the answer."""
        method, path, headers = request["method"], request["path"], request["headers"]
        body = json.dumps(request["body"]) if request["body"] is not None else None
        self.connection.request(
            method, f"{path}?{request['query']}", body, {**headers, "Authorization": LOGIN}
        )
        response = self.connection.getresponse()
        answer = Answer(
            response.status,
            json.loads(response.read()),
            response.headers["X-Broker-API-Request-Identity"],
        )
        resource, kind = resource_of(path)
        allowed = RULES.get((method, kind, resource in self.there), {404})
        as_told = answer.identity == headers.get("X-Broker-API-Request-Identity")
        right = answer.status in allowed and as_told
        self.sent += 1
        self.wrong += not right
        text = json.dumps(answer.body)
        if not right:
            text = f"expected {' or '.join(map(str, sorted(allowed)))}; got {text}"
        say(request["name"], str(answer.status), text, "green" if right else "red")
        if method == "PUT" and answer.status < 300:
            self.there.add(resource)
        if method == "DELETE":
            self.there.discard(resource)
        return answer


def resource_of(path: str) -> tuple[str, str]:
    """What a path is about: the instance or binding, and which kind of request it is."""
    resource = path.removesuffix("/last_operation")
    if resource != path:
        return resource, "last_operation"
    if path == "/v2/catalog":
        return path, "catalog"
    return resource, "binding" if "/service_bindings/" in path else "instance"


def say(what: str, status: str, text: str, colour: str) -> None:
    """Print a line, in colour where the terminal has colours."""
    plain = not sys.stdout.isatty() or "NO_COLOR" in os.environ
    code = {"green": "32", "red": "31;1", "dim": "2"}[colour]
    start, end = ("", "") if plain else (f"\033[{code}m", "\033[0m")
    width = max(shutil.get_terminal_size((120, 24)).columns, 80)
    label = min(60, width // 2)
    print(
        f"  {cut(what, label):<{label}} {start}{status:>3}{end}  {cut(text, width - label - 8)}", flush=True
    )


def cut(text: str, width: int) -> str:
    """As much of a text as there is room for."""
    return text if len(text) <= width else f"{text[: width - 1]}…"


@contextmanager
def broker_serving(folder: str) -> Iterator[tuple[int, subprocess.Popen[str]]]:
    """Serve hello.py on a free port of the loopback, as in production but for the size.

    Args:
        folder: Where it keeps what it remembers.

    Yields:
        The port, and the process.
    """
    command = [sys.executable, "-m", "waitress", "--listen=127.0.0.1:0", "hello:app"]
    settings = {"BROKER_STORE": f"sqlite:///{folder}/hello.db?lease={LEASE}", "STEP_SECONDS": "0.4"}
    environment = {**os.environ, **settings}
    log = ""
    with subprocess.Popen(command, cwd=HERE, env=environment, stderr=subprocess.PIPE, text=True) as server:
        try:
            assert server.stderr is not None
            for line in server.stderr:
                log += line
                if match := re.search(r"Serving on http://127\.0\.0\.1:(\d+)", line):
                    break
            else:
                why, _, _ = log.partition("\nUsage:")  # waitress goes on to explain itself
                raise SystemExit(f"The broker did not start:\n{why}")
            # What it logs from now on belongs before one's eyes too.
            Thread(target=sys.stderr.writelines, args=[server.stderr], daemon=True).start()
            yield int(match[1]), server
        finally:
            server.terminate()


def order_from_one_that_dies(platform: Platform, folder: str) -> None:
    """Order a large database, kill the server at its work, and see its successor finish it."""
    instance = "/v2/service_instances/3f0c9c52-9c5e-4d0b-8a39-6f1d3f5a0009"
    binding = f"{instance}/service_bindings/9a1de1f7-4a44-4a53-9d0c-6b1f0c3e0009"
    offering = SMALL[:-2] + "01"
    ids = {"service_id": offering, "plan_id": LARGE}
    owner = {"organization_guid": "org", "space_guid": "space"}

    def ask(name: str, method: str, path: str, query: str = "", body: object = None) -> Answer:
        headers = {"X-Broker-API-Version": "2.17", "Content-Type": "application/json"}
        request = {"name": name, "method": method, "path": path, "query": query, "body": body}
        return platform.send({**request, "headers": headers})

    with broker_serving(folder) as (port, server):
        platform.connect(port)
        order = {**ids, **owner}
        accepted = ask("provision", "PUT", instance, "accepts_incomplete=true", order).body
        poll = f"operation={accepted['operation']}"
        while (found := ask("poll", "GET", f"{instance}/last_operation", poll).body) and (
            found.get("state") == "in progress" and found.get("description") != HALF_WAY
        ):
            time.sleep(POLL_EVERY)
        server.kill()
        server.wait()
        say("kill -9", "-", "the server is gone, in the middle of its work", "red")
    with broker_serving(folder) as (port, _):
        platform.connect(port)
        say("another server starts", "-", f"it takes the work up within {LEASE} seconds", "dim")
        platform.accepted = Answer(202, accepted, None)
        platform.poll(
            {
                "name": "poll",
                "method": "GET",
                "path": f"{instance}/last_operation",
                "query": poll,
                "headers": {"X-Broker-API-Version": "2.17"},
            }
        )
        ask("bind", "PUT", binding, body=ids)
        ask("unbind", "DELETE", binding, f"service_id={offering}&plan_id={LARGE}")
        ask("deprovision", "DELETE", instance, f"service_id={offering}&plan_id={LARGE}")


def main() -> int:
    """Play every scene; 0 if every answer was right."""
    with TemporaryDirectory() as folder:
        with broker_serving(folder) as (port, _):
            print(f"The broker of samples/hello.py serves http://127.0.0.1:{port}")
            platform = Platform(port)
            for number, (title, file, plan) in enumerate(SCENES):
                print(f"\n{title}")
                text = (TRAFFIC / f"{file}.jsonl").read_text().replace(SMALL, plan)
                for ours in ("0e8a8c1e", "7b1f4a52"):  # a platform never uses an id twice
                    text = text.replace(ours, f"{ours[:-1]}{number}")
                platform.play([json.loads(line) for line in text.splitlines()])
        print("\nA large one is ordered, and the server is killed while it makes it")
        order_from_one_that_dies(platform, folder)
    verdict = "each as the rules say" if not platform.wrong else f"{platform.wrong} wrong"
    print(f"\n{platform.sent} requests answered, {verdict}.")
    return 1 if platform.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
