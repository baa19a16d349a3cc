"""Checks any service broker, in whatever language it is written, against the rules of the API."""
