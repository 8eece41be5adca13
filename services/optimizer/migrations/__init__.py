"""The schema of the optimizer, revision by revision."""
