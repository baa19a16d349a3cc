"""Why a request was sent: the names under which journeys note what they see, and rules find it."""

from __future__ import annotations

from enum import StrEnum, auto


class Situation(StrEnum):
    """Why a request was sent."""

    # At the door
    CATALOG = auto()
    CATALOG_KNOWN = auto()  # the platform says that it has it
    CATALOG_AS_CLOUD_FOUNDRY = auto()
    VERSION_MISSING = auto()
    VERSION_MALFORMED = auto()
    VERSION_OF_OTHER_MAJOR = auto()
    VERSION_LATER = auto()
    VERSION_OLD = auto()
    LOGIN_MISSING = auto()
    LOGIN_WRONG = auto()
    LOGIN_MISSING_AND_ALL_ELSE_WRONG = auto()
    IDENTITY_MALFORMED = auto()
    IDENTITY_OF_ANY_PLATFORM = auto()

    # A service instance that nobody made
    UNKNOWN_FETCHED = auto()
    UNKNOWN_POLLED = auto()
    UNKNOWN_UPDATED = auto()
    UNKNOWN_DEPROVISIONED = auto()
    UNKNOWN_BOUND = auto()
    UNKNOWN_UNBOUND = auto()

    # What must be refused
    PROVISION_UNREADABLE = auto()
    PROVISION_OF_WRONG_TYPES = auto()
    PROVISION_WITHOUT_FIELD = auto()
    PROVISION_WITHOUT_ORGANIZATION = auto()
    PROVISION_OF_UNKNOWN_SERVICE = auto()
    PROVISION_OF_UNKNOWN_PLAN = auto()
    PROVISION_OF_PLAN_OF_ANOTHER = auto()
    PROVISION_AGAINST_SCHEMA = auto()
    PROVISION_OF_OTHER_VERSION = auto()
    REFUSED_PROVISION_DELETED = auto()

    # A service instance
    PROVISIONED = auto()
    PROVISIONED_WITHOUT_POLLING = auto()
    PROVISIONED_WITHOUT_SAYING_TRUE = auto()
    PROVISIONED_WITH_VERSION = auto()
    PROVISIONED_AGAIN_IN_PROGRESS = auto()
    PROVISIONED_OTHERWISE_IN_PROGRESS = auto()
    FETCHED_IN_PROGRESS = auto()
    UPDATED_IN_PROGRESS = auto()
    BOUND_IN_PROGRESS = auto()
    PROVISIONED_AGAIN = auto()
    PROVISIONED_AGAIN_WITH_UNKNOWN_FIELDS = auto()
    PROVISIONED_AGAIN_WITH_NULLS = auto()
    PROVISIONED_WITH_OTHER_PARAMETERS = auto()
    PROVISIONED_WITH_OTHER_PLAN = auto()
    PROVISIONED_AT_ONCE_BY_MANY = auto()
    FETCHED = auto()
    FETCHED_WITHOUT_HINTS = auto()
    FETCHED_WHEN_GONE = auto()

    # Updates
    UPDATED = auto()
    UPDATED_WITHOUT_POLLING = auto()
    UPDATED_WITHOUT_SAYING_TRUE = auto()
    UPDATED_TO_PLAN = auto()
    UPDATED_TO_PLAN_THOUGH_NOT_UPDATEABLE = auto()
    UPDATED_TO_UNKNOWN_PLAN = auto()
    UPDATED_CONTEXT = auto()
    UPDATED_WITHOUT_EFFECT = auto()
    UPDATED_WITH_NULLS = auto()
    UPDATED_WITH_UNKNOWN_FIELDS = auto()
    UPDATED_AGAIN_WHILE_UPDATED = auto()
    UPDATED_OTHERWISE_WHILE_UPDATED = auto()
    FETCHED_WHILE_UPDATED = auto()
    BOUND_WHILE_UPDATED = auto()
    UPDATE_UNREADABLE = auto()
    UPDATE_OF_WRONG_TYPES = auto()
    UPDATE_WITHOUT_SERVICE = auto()
    UPDATE_AGAINST_SCHEMA = auto()
    UPDATE_TO_OTHER_VERSION = auto()
    FETCHED_AFTER_REFUSALS = auto()
    FETCHED_AFTER_PARAMETERS = auto()
    FETCHED_AFTER_PLAN = auto()
    FETCHED_AFTER_CONTEXT = auto()
    POLLED_WITH_PLAN_BEFORE = auto()

    # Bindings
    BOUND = auto()
    BOUND_WITHOUT_POLLING = auto()
    BOUND_WITHOUT_SAYING_TRUE = auto()
    BOUND_AGAIN_IN_PROGRESS = auto()
    BINDING_FETCHED_IN_PROGRESS = auto()
    BOUND_AGAIN = auto()
    BOUND_AGAIN_WITH_UNKNOWN_FIELDS = auto()
    BOUND_AGAIN_WITH_NULLS = auto()
    BOUND_OTHERWISE = auto()
    BOUND_AT_ONCE_BY_MANY = auto()
    BOUND_THOUGH_NOT_BINDABLE = auto()
    BIND_UNREADABLE = auto()
    BIND_OF_WRONG_TYPES = auto()
    BIND_WITHOUT_FIELD = auto()
    BIND_OF_UNKNOWN_PLAN = auto()
    BIND_AGAINST_SCHEMA = auto()
    REFUSED_BIND_DELETED = auto()
    BINDING_FETCHED = auto()
    BINDING_FETCHED_UNKNOWN = auto()
    BINDING_FETCHED_WHEN_GONE = auto()
    BINDING_FETCHED_ELSEWHERE = auto()  # under another instance's id
    BINDING_POLLED_UNKNOWN = auto()
    ROTATED = auto()
    ROTATED_FROM_UNKNOWN = auto()
    PREDECESSOR_FETCHED = auto()
    SUCCESSOR_FETCHED = auto()

    # Deletes
    UNBOUND = auto()
    UNBOUND_WITHOUT_POLLING = auto()
    UNBOUND_WITHOUT_SAYING_TRUE = auto()
    UNBOUND_AGAIN_IN_PROGRESS = auto()
    UNBOUND_WHEN_GONE = auto()
    UNBOUND_UNKNOWN = auto()
    UNBOUND_WITHOUT_IDS = auto()
    UNBOUND_ELSEWHERE = auto()
    OTHER_BINDING_AFTER_UNBIND = auto()
    UNBOUND_WHILE_CREATED = auto()
    UNBOUND_AFTER_HALT = auto()
    BINDING_FETCHED_AFTER_HALT = auto()
    DEPROVISIONED = auto()
    DEPROVISIONED_WITHOUT_POLLING = auto()
    DEPROVISIONED_WITHOUT_SAYING_TRUE = auto()
    DEPROVISIONED_AGAIN_IN_PROGRESS = auto()
    BOUND_WHILE_DELETED = auto()
    UPDATED_WHILE_DELETED = auto()
    DEPROVISIONED_WHEN_GONE = auto()
    DEPROVISIONED_WITHOUT_IDS = auto()
    DEPROVISIONED_WHILE_CREATED = auto()
    DEPROVISIONED_AFTER_HALT = auto()
    FETCHED_AFTER_HALT = auto()
    DEPROVISIONED_AFTER_FAILURE = auto()
    ORPHAN_DELETED = auto()

    # Ids that are quoted in a path
    MADE_UNDER_ODD_ID = auto()
    MADE_AGAIN_UNDER_ODD_ID = auto()
    DELETED_UNDER_LIKE_ID = auto()
    DELETED_UNDER_ODD_ID = auto()

    # Polls
    POLLED = auto()
    POLLED_DELETION = auto()
    POLLED_TO_THE_END = auto()
    POLLED_AGAIN = auto()
    POLLED_UNKNOWN_OPERATION = auto()
    POLLED_OPERATION_OF_ANOTHER = auto()


ACCESS_SITUATIONS = frozenset(
    {
        Situation.CATALOG_KNOWN,
        Situation.CATALOG_AS_CLOUD_FOUNDRY,
        Situation.VERSION_MISSING,
        Situation.VERSION_MALFORMED,
        Situation.VERSION_OF_OTHER_MAJOR,
        Situation.VERSION_LATER,
        Situation.VERSION_OLD,
        Situation.LOGIN_MISSING,
        Situation.LOGIN_WRONG,
        Situation.LOGIN_MISSING_AND_ALL_ELSE_WRONG,
        Situation.IDENTITY_MALFORMED,
        Situation.IDENTITY_OF_ANY_PLATFORM,
        Situation.UNKNOWN_FETCHED,
        Situation.UNKNOWN_POLLED,
        Situation.UNKNOWN_UPDATED,
        Situation.UNKNOWN_DEPROVISIONED,
        Situation.UNKNOWN_BOUND,
    }
)
"""What is seen without any service instance."""
