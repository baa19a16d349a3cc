"""Internal helpers for each layer: masking, JSON, text, files and the console."""
