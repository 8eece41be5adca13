"""What the optimizer knows: detectors, portfolios, counterfactuals and the life of advice; pure."""
