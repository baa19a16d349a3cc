"""Subscribers to a broker's signals: logs, metrics and traces, a module with its own dependencies each."""
