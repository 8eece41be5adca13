"""Reporting: owns forecasts that were made, and anomalies with what people say about them.

Publishes: the anomaly feed. Calls: usage for cost and quantity, whose cost feed it follows; budget
for limits, where it is configured.
"""
