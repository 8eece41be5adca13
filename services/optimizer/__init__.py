"""Optimizer: owns recommendations, what they claim and what they really save.

Owns: usage statistics of its own, instance catalogues, emission factors, detectors' settings, runs,
recommendations and measurements. Publishes: the recommendation feed. Calls: usage.
"""
