"""Internal helpers for every layer: masking, JSON, text, files and the console."""
