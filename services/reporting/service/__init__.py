"""Use cases of reporting; each owns its transaction."""
