"""What authors of brokers have for their own tests."""
