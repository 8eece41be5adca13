"""Measures speed on a stack of its own; `make bench` prints one JSON object a line.

Each bench starts what users run, real PostgreSQL with fsync and synchronous_commit on, and puts its
load on it from a process of its own. Figures are never asserted.
"""
