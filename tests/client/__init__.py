"""The platform's side of the API."""
