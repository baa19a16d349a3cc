"""The `brokerkit` command: a platform for one person, a checker, and tools for authors of brokers."""
