"""The budget service's use cases; each owns its transaction."""
