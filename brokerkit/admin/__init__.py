"""Operators' commands: `flask broker …`."""
