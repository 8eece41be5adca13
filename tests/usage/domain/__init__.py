"""Tests of the usage domain: tables and invariants, no input or output."""
