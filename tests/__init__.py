"""The tests mirror the tree; `support` holds what they share."""
