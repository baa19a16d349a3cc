"""How a handler refuses: every error that a platform is told of, with its status and word.

A handler raises one of these; the platform gets its status and ``{"error": …, "description": …}``
(R-ERR-1). Any other exception becomes a 500 that tells nothing of the inside. :class:`Retry` is no refusal:
a background handler asks with it to be called again.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import ClassVar

_WORD = re.compile(r"[A-Z][A-Za-z0-9]*")


class BrokerError(Exception):
    """A refusal or failure that the platform is told of, in the words given here.

    Args:
        description: What went wrong and what to do about it. The platform shows it to its end user.
        status: The HTTP status, 400 to 599. Without it, the one of the class (500 for `BrokerError`).
        error: One CamelCase word that tells programs which error it is (R-ERR-1).
        instance_usable: After a failed update or deprovision: can the instance still be used?
            Told in no other answer (R-ERR-2).
        update_repeatable: After a failed update: may the platform try it again? (R-ERR-2)

    Raises:
        ValueError: One of the above cannot be sent to a platform.
    """

    status: int = 500
    error: str | None = None
    description: str = "The service broker could not do this."

    #: The status in answer to a DELETE, where it is another one.
    status_on_delete: ClassVar[int | None] = None
    #: Further headers of the answer.
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
        """Make sure that it can be sent.

        Raises:
            ValueError: It cannot (R-ERR-1).
        """
        _check(self.description, self.status, self.error)

    def status_for(self, method: str) -> int:
        """The status in answer to a request with this HTTP method.

        What a DELETE was to remove and is not there is 410 to it, and 404 to all others; a status
        that was given to the constructor holds for every method.
        """
        if method == "DELETE" and self.status_on_delete is not None and not self._status_given:
            return self.status_on_delete
        return self.status


def _check(description: object, status: object, error: object, where: str = "") -> None:
    """Refuse what cannot be sent to a platform (R-ERR-1)."""
    if not isinstance(description, str) or not description:
        raise ValueError(f"{where}description: give a non-empty text for the platform's end user")
    description.encode()  # a lone surrogate is a ValueError too
    if not isinstance(status, int) or not 400 <= status <= 599:
        raise ValueError(f"{where}status: {status!r} is not that of an error, 400 to 599")
    if error is not None and not (isinstance(error, str) and _WORD.fullmatch(error)):
        raise ValueError(f"{where}error: {error!r} is not one CamelCase word")


class InstanceAlreadyExists(BrokerError):
    """The instance id is taken, by an instance with other attributes: 409 (R-PROV-5)."""

    status = 409
    error = "InstanceAlreadyExists"
    description = "A service instance with this id exists already, with other attributes."


class InstanceDoesNotExist(BrokerError):
    """There is no such instance: 410 to its DELETE (R-DEL-1), 404 elsewhere."""

    status = 404
    status_on_delete = 410
    error = "InstanceDoesNotExist"
    description = "There is no service instance with this id."


class InstanceLimitMet(BrokerError):
    """The broker has no room for another instance: 400, which every platform understands (R-ERR-4)."""

    status = 400
    error = "InstanceLimitMet"
    description = "The number of service instances has reached its limit."


class BindingAlreadyExists(BrokerError):
    """The binding id is taken, by a binding with other attributes: 409 (R-BIND-1)."""

    status = 409
    error = "BindingAlreadyExists"
    description = "A service binding with this id exists already, with other attributes."


class BindingDoesNotExist(BrokerError):
    """There is no such binding: 410 to its DELETE (R-UNB-1), 404 elsewhere."""

    status = 404
    status_on_delete = 410
    error = "BindingDoesNotExist"
    description = "There is no service binding with this id."


class AsyncRequired(BrokerError):
    """It takes longer than a request, and the platform did not say that it can poll: 422 (R-PROV-7)."""

    status = 422
    error = "AsyncRequired"
    description = "This service plan needs a platform that supports asynchronous operations."


class ConcurrencyError(BrokerError):
    """Another operation on the same instance or binding is in progress: 422 (R-ERR-3)."""

    status = 422
    error = "ConcurrencyError"
    description = "Another operation on this resource is in progress; try again when it is done."


class RequiresApp(BrokerError):
    """A binding of this plan needs an application: 422 (R-BIND-5)."""

    status = 422
    error = "RequiresApp"
    description = "This service plan can only be bound to an application."


class MaintenanceInfoConflict(BrokerError):
    """The platform asked for another maintenance_info version than the catalog's: 422 (R-PROV-8)."""

    status = 422
    error = "MaintenanceInfoConflict"
    description = "The maintenance_info version is not the one in the catalog; fetch the catalog again."


class PlanChangeNotSupported(BrokerError):
    """The instance cannot move from its plan to the one asked for: 422 (R-UPD-3)."""

    status = 422
    error = "PlanChangeNotSupported"
    description = "A service instance of this plan cannot be moved to the plan asked for."


class InvalidParameters(BrokerError):
    """The parameters are not what the plan takes: 400 (R-PROV-6)."""

    status = 400
    error = "InvalidParameters"
    description = "The parameters are not those that the service plan takes."


class QuotaExceeded(BrokerError):
    """The user has used up what may be ordered: 400, which every platform understands (R-ERR-4)."""

    status = 400
    error = "QuotaExceeded"
    description = "The quota for this service is used up."


class BadRequest(BrokerError):
    """The request is not one of this API: 400."""

    status = 400
    error = "BadRequest"


class Retry(Exception):
    """Raised by a background handler: what it waits for is not there yet; run it again later.

    The attempt ends here, and nothing of it stays in memory. The next one gets the same request, with
    `request.attempt` one higher. What it is raised from (``raise Retry(…) from error``) is logged.

    Args:
        after: In how many seconds, at the earliest; more than 0.
        description: What is waited for, for the user who asks how it goes.

    Raises:
        ValueError: `after` is no such number, or `description` no text.
    """

    def __init__(self, *, after: float, description: str | None = None) -> None:
        if isinstance(after, bool) or not isinstance(after, int | float) or not 0 < after < 1e9:
            raise ValueError(f"Retry(after={after!r}): give a number of seconds, more than 0")
        if description is not None and not isinstance(description, str):
            raise ValueError("Retry(description=…) takes a text")
        (description or "").encode()  # a lone surrogate is a ValueError too
        super().__init__(description or f"Tried again in {after:g} seconds.")
        self.after = after
        self.description = description


class HandlerMistake(Exception):
    """A handler answered what no platform may be told; the message tells its author what to change."""
