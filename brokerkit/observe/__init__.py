"""Subscribers to the signals: logs, metrics, traces. Each is a module of its own, and loads what it needs."""
