"""What the environment tells the processes of the broker that is watched."""

EVENTS = "BROKERKIT_PRODUCTION_EVENTS"
"""The file where handlers note what they do."""

REDIS = "BROKERKIT_PRODUCTION_REDIS"
"""The URL of the queue."""

CALM = "calm"
"""The file beside it that is there when handlers and messages are to be as they should."""
