"""The HTTP server: blueprints, the request pipeline and the dispatch to handlers."""
