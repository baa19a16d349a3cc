"""Background work: executors, workers, heartbeat and scheduler."""
