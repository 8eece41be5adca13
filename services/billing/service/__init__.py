"""The use cases of billing; each owns its transaction."""
