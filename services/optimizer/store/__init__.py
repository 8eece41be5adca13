"""The optimizer's rows."""
