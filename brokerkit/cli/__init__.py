"""The `brokerkit` command: a client for service brokers, a checker, and tools for authors of brokers."""
