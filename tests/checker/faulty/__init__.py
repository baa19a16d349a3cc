"""Service brokers with one fault each, by subject."""
