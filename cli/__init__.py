"""The `finops` command and the local stack."""
