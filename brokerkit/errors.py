"""The errors that a handler can raise, with their HTTP status and error code.

For a :class:`BrokerError`, the platform gets its status and ``{"error": …, "description": …}`` (R-ERR-1). Any
other exception becomes a 500 that reveals no internals. :class:`Retry` is not an error: a background handler
raises it to be called again later.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import ClassVar

_ERROR_CODE = re.compile(r"[A-Z][A-Za-z0-9]*")


class BrokerError(Exception):
    """A refusal or failure that is reported to the platform.

    Args:
        description: The fault and the remedy. The platform shows it to its end user. Defaults to the
            description of the class.
        status: The HTTP status, 400 to 599. Defaults to the status of the class (500 for `BrokerError`).
        error: The error code for programs, one CamelCase word (R-ERR-1). Defaults to the code of the class.
        instance_usable: Whether the instance can still be used after a failed update or deprovision. Sent
            in no other response (R-ERR-2).
        update_repeatable: Whether the platform may repeat a failed update (R-ERR-2).

    Raises:
        ValueError: A value cannot be sent to a platform.
    """

    status: int = 500
    error: str | None = None
    description: str = "The service broker could not process the request."

    #: The status of the response to a DELETE, if it differs.
    status_on_delete: ClassVar[int | None] = None
    #: Additional headers of the response.
    headers: Sequence[tuple[str, str]] = ()

    instance_usable: bool | None = None
    update_repeatable: bool | None = None
    _status_given = False

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        _check(cls.description, cls.status, cls.error, f"{cls.__name__}.")

    def __init__(
        self,
        description: str | None = None,
        *,
        status: int | None = None,
        error: str | None = None,
        instance_usable: bool | None = None,
        update_repeatable: bool | None = None,
    ) -> None:
        if description is not None:
            self.description = description
        if status is not None:
            self.status = status
            self._status_given = True
        if error is not None:
            self.error = error
        if instance_usable is not None:
            self.instance_usable = instance_usable
        if update_repeatable is not None:
            self.update_repeatable = update_repeatable
        self.check()
        super().__init__(self.description)

    def check(self) -> None:
        """Check that the error can be sent to a platform (R-ERR-1).

        Raises:
            ValueError: The description, the status or the error code cannot be sent.
        """
        _check(self.description, self.status, self.error)

    def status_for(self, method: str) -> int:
        """Return the HTTP status of the response to a request with this HTTP method.

        A missing resource is 410 for a DELETE and 404 for each other method. A status that was passed to
        the constructor is used for each method.
        """
        if method == "DELETE" and self.status_on_delete is not None and not self._status_given:
            return self.status_on_delete
        return self.status


def _check(description: object, status: object, error: object, where: str = "") -> None:
    """Raise ValueError for a value that cannot be sent to a platform (R-ERR-1)."""
    if not isinstance(description, str) or not description:
        raise ValueError(f"{where}description: pass a non-empty text for the platform's end user")
    description.encode()  # a lone surrogate is a ValueError too
    if not isinstance(status, int) or not 400 <= status <= 599:
        raise ValueError(f"{where}status: {status!r} is not an error status, 400 to 599")
    if error is not None and not (isinstance(error, str) and _ERROR_CODE.fullmatch(error)):
        raise ValueError(f"{where}error: {error!r} is not one CamelCase word")


class InstanceAlreadyExists(BrokerError):
    """A conflict with an instance of the same id but other attributes: 409 (R-PROV-5)."""

    status = 409
    error = "InstanceAlreadyExists"
    description = "A service instance with this ID already exists with different attributes."


class InstanceDoesNotExist(BrokerError):
    """A request for a missing instance: 410 for a DELETE (R-DEL-1), otherwise 404."""

    status = 404
    status_on_delete = 410
    error = "InstanceDoesNotExist"
    description = "The service instance does not exist."


class InstanceLimitMet(BrokerError):
    """A provision beyond the capacity of the broker: 400, which every platform understands (R-ERR-4)."""

    status = 400
    error = "InstanceLimitMet"
    description = "The maximum number of service instances has been reached."


class BindingAlreadyExists(BrokerError):
    """A conflict with a binding of the same id but other attributes: 409 (R-BIND-1)."""

    status = 409
    error = "BindingAlreadyExists"
    description = "A service binding with this ID already exists with different attributes."


class BindingDoesNotExist(BrokerError):
    """A request for a missing binding: 410 for a DELETE (R-UNB-1), otherwise 404."""

    status = 404
    status_on_delete = 410
    error = "BindingDoesNotExist"
    description = "The service binding does not exist."


class AsyncRequired(BrokerError):
    """A request without `accepts_incomplete` for an asynchronous operation: 422 (R-PROV-7).

    Some platforms recognise the error by its default description.
    """

    status = 422
    error = "AsyncRequired"
    description = "This service plan requires client support for asynchronous service operations."


class ConcurrencyError(BrokerError):
    """A request for a resource with another operation in progress: 422 (R-ERR-3).

    Some platforms recognise the error by its default description.
    """

    status = 422
    error = "ConcurrencyError"
    description = "The Service Broker does not support concurrent requests that mutate the same resource."


class RequiresApp(BrokerError):
    """A bind without an application, which the plan requires: 422 (R-BIND-5).

    Some platforms recognise the error by its default description.
    """

    status = 422
    error = "RequiresApp"
    description = "This service supports generation of credentials through binding an application only."


class MaintenanceInfoConflict(BrokerError):
    """A maintenance_info version that differs from the catalog's: 422 (R-PROV-8)."""

    status = 422
    error = "MaintenanceInfoConflict"
    description = (
        "The requested maintenance version differs from the one in the service catalog."
        " Please refresh the catalog and try again."
    )


class PlanChangeNotSupported(BrokerError):
    """An update to a plan that the instance cannot change to: 422 (R-UPD-3)."""

    status = 422
    error = "PlanChangeNotSupported"
    description = "The service instance cannot be changed to the requested service plan."


class InvalidParameters(BrokerError):
    """Parameters that the plan does not accept: 400 (R-PROV-6)."""

    status = 400
    error = "InvalidParameters"
    description = "The parameters are not valid for this service plan."


class QuotaExceeded(BrokerError):
    """A request beyond the quota of the user: 400, which every platform understands (R-ERR-4)."""

    status = 400
    error = "QuotaExceeded"
    description = "The quota for this service has been exceeded."


class BadRequest(BrokerError):
    """A request that does not conform to the API: 400."""

    status = 400
    error = "BadRequest"
    description = "The request is not valid."


class Retry(Exception):
    """A request of a background handler to be called again later, because something is not ready yet.

    It ends the attempt, which leaves nothing in memory. The next attempt gets the same request, with
    `request.attempt` increased by one. The cause (``raise Retry(…) from error``) is logged.

    Args:
        after: The minimum delay in seconds, greater than 0.
        description: The progress, for the end user. Defaults to no change.

    Raises:
        ValueError: `after` is not a number greater than 0, or `description` is not a string.
    """

    def __init__(self, *, after: float, description: str | None = None) -> None:
        if isinstance(after, bool) or not isinstance(after, int | float) or not 0 < after < 1e9:
            raise ValueError(f"Retry(after={after!r}): pass a number of seconds, greater than 0")
        if description is not None and not isinstance(description, str):
            raise ValueError("Retry(description=…) takes a string")
        (description or "").encode()  # a lone surrogate is a ValueError too
        super().__init__(description or f"Retry in {after:g} seconds.")
        self.after = after
        self.description = description

    def __reduce__(self) -> tuple[object, ...]:
        """Support pickling, which passes the arguments of an exception by position otherwise."""
        return _make_retry, (self.after, self.description)


def _make_retry(after: float, description: str | None) -> Retry:
    return Retry(after=after, description=description)


class HandlerMistake(Exception):
    """A handler result that must not be sent to a platform. The message names the remedy for the author."""
