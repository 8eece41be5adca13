"""Tests of what the budget service computes without input or output."""
