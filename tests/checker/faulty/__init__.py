"""Service brokers that are wrong in one thing each, by what that is about."""
