"""The optimizer's RPCs."""
