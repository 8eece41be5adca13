"""Finds values that do not fit what was seen before, one value at a time."""
