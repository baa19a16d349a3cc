"""SQL statements of a store: reads, and transitions that compare and set."""
