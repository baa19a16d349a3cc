"""Every statement of a store, in chapters: reads, and transitions that compare and set."""
