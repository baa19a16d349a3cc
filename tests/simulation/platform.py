"""The platform: it sends requests, polls, and finally deletes everything; and the operator's commands."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING, Any

from brokerkit.admin.queries import CommandRefused, purge_records, retry_operation
from brokerkit.store.errors import StoreUnavailable

from .actors import Killed
from .processes import Process, catalog
from .schedule import Request

if TYPE_CHECKING:
    from .run import Simulation

INSTANCE = "/v2/service_instances/i"
IDS = {"service_id": "offering", "plan_id": "plan"}
_DELETE = "service_id=offering&plan_id=plan"
_POLL_INTERVAL = 7.0
_POLLS = 30
_TRIES = 40
_PURGED_AGE = 90.0


class Answer:
    """A response: its status and its JSON body."""

    def __init__(self, status: int, body: Any) -> None:
        self.status = status
        self.body = body

    @property
    def operation(self) -> str | None:
        """The id of the accepted operation."""
        return self.body.get("operation") if self.status == 202 else None


class Platform:
    """The platform of one run.

    Args:
        run: The run.
    """

    def __init__(self, run: Simulation) -> None:
        self._run = run
        self.accepted: list[tuple[str, str]] = []

    def perform(self, request: Request) -> None:
        """Send a request of the schedule, and poll the operation that it started."""
        if request.kind in ("retry", "purge"):
            self._command(request)
            return
        answer = self.send(request)
        if answer is not None and answer.operation is not None:
            self.poll(request, answer.operation)

    def send(self, request: Request) -> Answer | None:
        """Send a request, and return the response; or None if it was lost."""
        query = f"accepts_incomplete={'true' if request.polls else 'false'}"
        path = path_of(request)
        runs_before = sum(self._run.world.runs.values())
        if request.kind in ("deprovision", "unbind"):
            return self.call(request, "DELETE", path, f"{_DELETE}&{query}")
        body: dict[str, Any] = {**IDS, "parameters": {"size": request.size}}
        if request.kind == "provision":
            body |= {"organization_guid": "o", "space_guid": "s"}
        method = "PATCH" if request.kind == "update" else "PUT"
        answer = self.call(request, method, path, query, body)
        if answer is not None and answer.status == 201 and runs_before == sum(self._run.world.runs.values()):
            self._run.violate("not run", f"{request.name} got 201, but no handler ran")
        return answer

    def poll(self, request: Request, operation: str) -> str | None:
        """Poll an operation until it ends, and return its state."""
        path = path_of(request)
        self.accepted.append((path, operation))
        for _ in range(_POLLS):
            self._run.stage.sleep(_POLL_INTERVAL)
            state = self.poll_once(path, operation)
            if state in ("succeeded", "failed", "gone"):
                return state
        return None

    def poll_once(self, path: str, operation: str) -> str | None:
        """Poll an operation once, and return its state, "gone", or None without a valid response."""
        before = self._run.invariants.reported(operation)
        answer = self.call(None, "GET", f"{path}/last_operation", f"operation={operation}")
        if answer is None:
            return None
        if answer.status == 200:
            state = str(answer.body["state"])
            self._run.invariants.polled(operation, state, before)
            return state
        return "gone" if answer.status in (400, 404, 410) else None

    def call(
        self, request: Request | None, method: str, path: str, query: str, body: Any = None
    ) -> Answer | None:
        """Call a process over WSGI. Without a response, because the process died, return None."""
        run, actor = self._run, self._run.stage.me
        process = run.process_for(request.process if request else actor.points)
        if process is None:
            run.stage.log(f"{method} {path}: no process")
            return None
        actor.process, actor.is_suspect = process, False
        raised = actor.has_raised
        actor.has_raised = False
        try:
            answer = _call(process, method, path, query, body)
        except Killed:
            if run.stage.is_ending:
                raise
            answer = None
        if actor.is_killed:
            answer, actor.is_killed = None, False
        actor.process = None
        if answer is not None and answer.status == 500 and not actor.has_raised:
            run.violate("error", f"{method} {path} returned 500: {answer.body}")
        actor.has_raised = actor.has_raised or raised
        described = "no response" if answer is None else f"{answer.status} {json.dumps(answer.body)}"
        run.stage.log(f"{method} {path} on {process.name}: {described}")
        return answer

    def _command(self, request: Request) -> None:
        """Run an operator's command. It uses the store of a process, as `flask broker` would."""
        run = self._run
        process = run.process_for(request.process)
        if process is None:
            return
        store = process.runtime.store
        try:
            if request.kind == "purge":
                purge_records(store, _PURGED_AGE)
                run.after_commit()
                return
            for operation in run.failed_operations():
                run.retrying.add(operation)
                try:
                    retry_operation(store, catalog(), operation)
                    run.stage.log(f"operator retries {operation}")
                except CommandRefused as refused:
                    run.stage.log(f"the retry of {operation} is refused: {refused}")
                finally:
                    run.retrying.discard(operation)
        except StoreUnavailable:
            pass

    # At rest

    def check_replays(self) -> None:
        """Check that repeated fetches and polls return equal responses, which agree with the world."""
        run = self._run
        for path, operation in self.accepted:
            self.poll_once(path, operation)
        for key, thing in list(run.world.things.items()):
            path = INSTANCE if key[1] is None else f"{INSTANCE}/service_bindings/{key[1]}"
            answers = [self.call(None, "GET", path, _DELETE) for _ in range(2)]
            first, second = answers
            if first is None or second is None:
                continue
            if first.status != second.status or first.body != second.body:
                run.violate("replay", f"GET {path} returned {first.body}, then {second.body}")
            if first.status != 200 or run.world.has_strays:
                continue
            if key[1] is None:
                token = (first.body.get("dashboard_url") or "").removeprefix("https://world/")
            else:
                token = (first.body.get("credentials") or {}).get("token")
            if token and token != thing.token:
                run.violate("replay", f"GET {path} returned {token}, but {thing.token} exists")
            if key[1] is not None and not token:
                run.violate("replay", f"GET {path} returned a binding without credentials")

    def delete_all(self, bindings: list[str]) -> None:
        """Delete the bindings and the instance until the broker confirms it."""
        for binding in bindings:
            self._delete(Request("cleanup", "unbind", binding=binding))
        self._delete(Request("cleanup", "deprovision"))

    def _delete(self, request: Request) -> None:
        for _ in range(_TRIES):
            answer = self.send(request)
            if answer is not None and answer.status in (200, 404, 410):
                return
            if (
                answer is not None
                and answer.operation is not None
                and self.poll(request, answer.operation) in ("succeeded", "gone")
            ):
                return
            self._run.stage.sleep(10.0)
        self._run.violate("stuck", f"the {request.kind} of {path_of(request)} never succeeds")


def path_of(request: Request) -> str:
    """Return the path of a request's instance or binding."""
    return f"{INSTANCE}/service_bindings/{request.binding}" if request.of_binding else INSTANCE


def _call(process: Process, method: str, path: str, query: str, body: Any) -> Answer:
    data = b"" if body is None else json.dumps(body).encode()
    environ = {
        "REQUEST_METHOD": method,
        "SCRIPT_NAME": "",
        "PATH_INFO": path,
        "QUERY_STRING": query,
        "SERVER_NAME": "broker",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "CONTENT_TYPE": "application/json",
        "CONTENT_LENGTH": str(len(data)),
        "HTTP_X_BROKER_API_VERSION": "2.17",
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(data),
        "wsgi.errors": io.StringIO(),
        "wsgi.version": (1, 0),
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
    }
    status: list[str] = []

    def start_response(line: str, _headers: object, _error: object = None) -> Any:
        status.append(line)
        return lambda _: None

    content = process.host.app.wsgi_app(environ, start_response)
    text = b"".join(content)
    return Answer(int(status[-1].split()[0]), json.loads(text) if text else {})
