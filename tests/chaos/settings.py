"""The environment variables of the broker's processes."""

EVENTS = "BROKERKIT_CHAOS_EVENTS"
"""The file in which handlers record events."""

REDIS = "BROKERKIT_CHAOS_REDIS"
"""The URL of the task queue."""

RELIABLE = "reliable"
"""The name of a file beside the events. While it exists, handlers are quick and no message is lost."""
