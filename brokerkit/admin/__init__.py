"""The operators' commands: `flask broker …`."""
