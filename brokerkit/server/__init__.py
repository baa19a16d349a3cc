"""The HTTP server side: blueprint, pipeline and dispatch."""
