"""Reporting: owns forecasts that were made, and judges them by what came.

Publishes: nothing that others consume. Calls: usage for cost and quantity, budget for limits
where it is configured.
"""
