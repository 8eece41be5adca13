"""Usage without input or output: events, prices, rating, allocation, attribution."""
