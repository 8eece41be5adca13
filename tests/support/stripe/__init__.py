"""Stripe as the tests meet it: its schema, a stateful peer, and an edge that injects faults."""
