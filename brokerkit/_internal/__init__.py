"""Helpers without a domain of their own: masking, JSON, the console."""
