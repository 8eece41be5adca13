"""The optimizer's use cases."""
