"""Tests of the reporting service's domain."""
