"""A platform that completes its requests although the broker's process dies once."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from ..support.wait import wait_until
from .processes import NoResponse, Response, Server
from .requests import (
    CAN_POLL,
    binding_body,
    binding_path,
    delete_query,
    instance_path,
    provision_body,
    update_body,
)

INSTANCE, BINDING = "i1", "b1"


class GaveUp(Exception):
    """The broker died during a creation, and the platform deletes the resource."""


class RetryingPlatform:
    """A platform that resends requests without a response, or deletes the resource instead.

    Args:
        plan: The plan of its instance.
        server: The first server.
        successor: Returns the server to use after the death of the first.
        query: ``accepts_incomplete=true``, or an empty string.
        resends: Whether it resends requests. If not, it only creates and deletes.
    """

    def __init__(
        self,
        plan: str,
        server: Server,
        successor: Callable[[], Server],
        *,
        query: str = CAN_POLL,
        resends: bool = True,
    ) -> None:
        self._plan, self._server, self._successor = plan, server, successor
        self._query, self._resends = query, resends
        self._gives_up = False
        self.was_interrupted = False
        self.accepted: list[str] = []
        """The ids of the accepted operations."""

    @property
    def handlers(self) -> list[str]:
        """The handlers that a broker calls in a lifecycle without interruption."""
        update = ["update"] if self._resends else []
        return ["provision", *update, "bind", "unbind", "deprovision"]

    def run_lifecycle(self) -> None:
        """Create, update, bind, unbind and delete an instance, and check that nothing is left."""
        instance, binding = instance_path(INSTANCE), binding_path(INSTANCE, BINDING)
        try:
            self._create(instance, provision_body(self._plan, data="1"))
            if self._resends:
                self._update(instance, update_body(data="2"))
            self._create(binding, binding_body(self._plan))
            self._delete(binding)
        except GaveUp:
            self._delete(binding)
        self._delete(instance)
        assert self._send("DELETE", instance, None, delete_query(self._plan)).status == 410
        assert self._send("GET", instance, None, "").status == 404

    def _create(self, path: str, body: dict[str, Any]) -> None:
        self._gives_up = not self._resends
        for _ in range(3):
            response = self._send_until_final("PUT", path, body, self._query)
            if response.status in (200, 201) and response.body.get("state") != "failed":
                return
            assert self.was_interrupted, response
            assert response.status in (200, 409), response
            self._delete(path)  # R-DEL-5: the platform cleans up after a failed creation
        raise AssertionError(f"{path} cannot be created")

    def _update(self, path: str, body: dict[str, Any]) -> None:
        for _ in range(3):
            response = self._send_until_final("PATCH", path, body, self._query)
            if response.status == 200 and response.body.get("state") != "failed":
                return
            assert self.was_interrupted, response
        raise AssertionError(f"{path} cannot be updated")

    def _delete(self, path: str) -> None:
        self._gives_up = False
        for _ in range(3):
            query = "&".join(part for part in (delete_query(self._plan), self._query) if part)
            response = self._send_until_final("DELETE", path, None, query)
            if response.status in (200, 410) and response.body.get("state") != "failed":
                return
            assert self.was_interrupted, response
        raise AssertionError(f"{path} cannot be deleted")

    def _send_until_final(self, method: str, path: str, body: Any, query: str) -> Response:
        """Send until the response is final. After a 202, return the final response to a poll."""
        deadline = time.monotonic() + 60
        while True:
            assert time.monotonic() < deadline, f"{path} is still busy"
            response = self._send(method, path, body, query)
            if response.status == 202:
                self.accepted.append(response.body["operation"])
                return self._poll(path, response.body["operation"])
            if not response.is_busy:
                assert response.status < 500, response
                return response
            assert self.was_interrupted, "only an interrupted request can keep the instance busy"
            time.sleep(0.05)

    def _poll(self, path: str, operation: str) -> Response:
        def final_response() -> Response | None:
            response = self._send("GET", f"{path}/last_operation", None, f"operation={operation}")
            assert response.status == 200, response
            return None if response.body["state"] == "in progress" else response

        response: Response = wait_until(final_response, timeout=60, pause=0.01)
        return response

    def _send(self, method: str, path: str, body: Any, query: str) -> Response:
        try:
            return self._server.send(method, path, body, query)
        except NoResponse:
            assert not self.was_interrupted, "only the first process dies"
            self.was_interrupted = True
            self._server = self._successor()
            if self._gives_up:
                raise GaveUp from None
            return self._server.send(method, path, body, query)
