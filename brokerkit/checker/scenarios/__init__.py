"""The scenarios: sequences of requests to a broker."""
