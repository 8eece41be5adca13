"""Between the contracts and what the optimizer knows."""
