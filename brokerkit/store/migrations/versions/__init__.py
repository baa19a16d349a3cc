"""One module for each version, the later above the earlier."""
