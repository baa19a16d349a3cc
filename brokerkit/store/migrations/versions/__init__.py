"""One migration for each schema version, in ascending order."""
