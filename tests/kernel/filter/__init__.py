"""Tests of services/kernel/filter."""
