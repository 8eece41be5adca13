"""Tests of the directory over gRPC."""
