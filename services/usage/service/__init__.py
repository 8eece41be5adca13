"""The usage service's use cases; each owns its transaction."""
