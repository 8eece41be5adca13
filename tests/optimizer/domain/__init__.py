"""Tests of what the optimizer knows."""
