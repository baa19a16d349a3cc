"""Situations: why a scenario sent a request. Rules select observations by them."""

from __future__ import annotations

from enum import StrEnum, auto


class Situation(StrEnum):
    """The reason for a request."""

    # Requests without a service instance
    CATALOG = auto()
    CATALOG_CONDITIONAL = auto()  # with If-None-Match or If-Modified-Since
    CATALOG_AS_CLOUD_FOUNDRY = auto()
    VERSION_MISSING = auto()
    VERSION_MALFORMED = auto()
    VERSION_OF_OTHER_MAJOR = auto()
    VERSION_LATER = auto()
    VERSION_OLD = auto()
    LOGIN_MISSING = auto()
    LOGIN_WRONG = auto()
    LOGIN_MISSING_IN_INVALID_REQUEST = auto()
    IDENTITY_MALFORMED = auto()
    IDENTITY_OF_ANY_PLATFORM = auto()

    # Requests for an unknown service instance
    UNKNOWN_FETCHED = auto()
    UNKNOWN_POLLED = auto()
    UNKNOWN_UPDATED = auto()
    UNKNOWN_DEPROVISIONED = auto()
    UNKNOWN_BOUND = auto()
    UNKNOWN_UNBOUND = auto()

    # Invalid provision requests
    PROVISION_UNREADABLE = auto()
    PROVISION_OF_WRONG_TYPES = auto()
    PROVISION_WITHOUT_FIELD = auto()
    PROVISION_WITHOUT_ORGANIZATION = auto()
    PROVISION_OF_UNKNOWN_OFFERING = auto()
    PROVISION_OF_UNKNOWN_PLAN = auto()
    PROVISION_OF_PLAN_OF_OTHER_OFFERING = auto()
    PROVISION_AGAINST_SCHEMA = auto()
    PROVISION_OF_OTHER_VERSION = auto()
    REFUSED_PROVISION_DELETED = auto()

    # Service instances
    PROVISIONED = auto()
    PROVISIONED_WITHOUT_POLLING = auto()
    PROVISIONED_WITH_FLAG_NOT_TRUE = auto()
    PROVISIONED_WITH_VERSION = auto()
    PROVISIONED_AGAIN_IN_PROGRESS = auto()
    PROVISIONED_WITH_OTHER_ATTRIBUTES_IN_PROGRESS = auto()
    FETCHED_IN_PROGRESS = auto()
    UPDATED_IN_PROGRESS = auto()
    BOUND_IN_PROGRESS = auto()
    PROVISIONED_AGAIN = auto()
    PROVISIONED_AGAIN_WITH_UNKNOWN_FIELDS = auto()
    PROVISIONED_AGAIN_WITH_NULLS = auto()
    PROVISIONED_WITH_OTHER_PARAMETERS = auto()
    PROVISIONED_WITH_OTHER_PLAN = auto()
    PROVISIONED_CONCURRENTLY = auto()
    FETCHED = auto()
    FETCHED_WITHOUT_HINTS = auto()
    FETCHED_AFTER_DELETION = auto()

    # Updates
    UPDATED = auto()
    UPDATED_WITHOUT_POLLING = auto()
    UPDATED_WITH_FLAG_NOT_TRUE = auto()
    UPDATED_TO_PLAN = auto()
    UPDATED_TO_PLAN_THOUGH_NOT_UPDATEABLE = auto()
    UPDATED_TO_UNKNOWN_PLAN = auto()
    UPDATED_CONTEXT = auto()
    UPDATED_WITHOUT_EFFECT = auto()
    UPDATED_WITH_NULLS = auto()
    UPDATED_WITH_UNKNOWN_FIELDS = auto()
    UPDATED_AGAIN_WHILE_UPDATED = auto()
    UPDATED_WITH_OTHER_PARAMETERS_WHILE_UPDATED = auto()
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
    POLLED_WITH_PREVIOUS_PLAN = auto()

    # Service bindings
    BOUND = auto()
    BOUND_WITHOUT_POLLING = auto()
    BOUND_WITH_FLAG_NOT_TRUE = auto()
    BOUND_AGAIN_IN_PROGRESS = auto()
    BINDING_FETCHED_IN_PROGRESS = auto()
    BOUND_AGAIN = auto()
    BOUND_AGAIN_WITH_UNKNOWN_FIELDS = auto()
    BOUND_AGAIN_WITH_NULLS = auto()
    BOUND_WITH_OTHER_ATTRIBUTES = auto()
    BOUND_CONCURRENTLY = auto()
    BOUND_THOUGH_NOT_BINDABLE = auto()
    BIND_UNREADABLE = auto()
    BIND_OF_WRONG_TYPES = auto()
    BIND_WITHOUT_FIELD = auto()
    BIND_OF_UNKNOWN_PLAN = auto()
    BIND_AGAINST_SCHEMA = auto()
    REFUSED_BIND_DELETED = auto()
    BINDING_FETCHED = auto()
    BINDING_FETCHED_UNKNOWN = auto()
    BINDING_FETCHED_AFTER_DELETION = auto()
    BINDING_FETCHED_UNDER_OTHER_INSTANCE = auto()  # under the id of another instance
    BINDING_POLLED_UNKNOWN = auto()
    ROTATED = auto()
    ROTATED_FROM_UNKNOWN = auto()
    PREDECESSOR_FETCHED = auto()
    SUCCESSOR_FETCHED = auto()

    # Deletions
    UNBOUND = auto()
    UNBOUND_WITHOUT_POLLING = auto()
    UNBOUND_WITH_FLAG_NOT_TRUE = auto()
    UNBOUND_AGAIN_IN_PROGRESS = auto()
    UNBOUND_AFTER_DELETION = auto()
    UNBOUND_UNKNOWN = auto()
    UNBOUND_WITHOUT_IDS = auto()
    UNBOUND_UNDER_OTHER_INSTANCE = auto()
    OTHER_BINDING_AFTER_UNBIND = auto()
    UNBOUND_WHILE_CREATED = auto()
    UNBOUND_AFTER_CANCELLATION = auto()
    BINDING_FETCHED_AFTER_CANCELLATION = auto()
    DEPROVISIONED = auto()
    DEPROVISIONED_WITHOUT_POLLING = auto()
    DEPROVISIONED_WITH_FLAG_NOT_TRUE = auto()
    DEPROVISIONED_AGAIN_IN_PROGRESS = auto()
    BOUND_WHILE_DELETED = auto()
    UPDATED_WHILE_DELETED = auto()
    DEPROVISIONED_AFTER_DELETION = auto()
    DEPROVISIONED_WITHOUT_IDS = auto()
    DEPROVISIONED_WHILE_CREATED = auto()
    DEPROVISIONED_AFTER_CANCELLATION = auto()
    FETCHED_AFTER_CANCELLATION = auto()
    DEPROVISIONED_AFTER_FAILURE = auto()
    ORPHAN_DELETED = auto()

    # Ids with special characters
    CREATED_UNDER_SPECIAL_ID = auto()
    DELETED_UNDER_SIMILAR_ID = auto()
    DELETED_UNDER_SPECIAL_ID = auto()

    # Polls
    POLLED = auto()
    POLLED_DELETION = auto()
    POLLED_TO_COMPLETION = auto()
    POLLED_AGAIN = auto()
    POLLED_UNKNOWN_OPERATION = auto()
    POLLED_OPERATION_OF_OTHER_RESOURCE = auto()


ACCESS_SITUATIONS = frozenset(
    {
        Situation.CATALOG_CONDITIONAL,
        Situation.CATALOG_AS_CLOUD_FOUNDRY,
        Situation.VERSION_MISSING,
        Situation.VERSION_MALFORMED,
        Situation.VERSION_OF_OTHER_MAJOR,
        Situation.VERSION_LATER,
        Situation.VERSION_OLD,
        Situation.LOGIN_MISSING,
        Situation.LOGIN_WRONG,
        Situation.LOGIN_MISSING_IN_INVALID_REQUEST,
        Situation.IDENTITY_MALFORMED,
        Situation.IDENTITY_OF_ANY_PLATFORM,
        Situation.UNKNOWN_FETCHED,
        Situation.UNKNOWN_POLLED,
        Situation.UNKNOWN_UPDATED,
        Situation.UNKNOWN_DEPROVISIONED,
        Situation.UNKNOWN_BOUND,
    }
)
"""The situations that require no service instance."""
