"""Lifecycle decisions of a broker with a store: rules, outcomes, responses, conversion and events."""
