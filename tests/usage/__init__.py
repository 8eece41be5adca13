"""Tests of the usage service."""
