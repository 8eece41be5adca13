"""The tables of the billing service, one module an owner."""
