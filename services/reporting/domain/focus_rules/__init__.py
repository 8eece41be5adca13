"""Checks FOCUS files by the published rule model of the specification.

The model is JSON that the FinOps Foundation publishes with its validator; it is read, not built in.
Rules that only a person can judge (Type `Dynamic`) and those that permit something (MAY) are
counted, not run. Source: FOCUS requirements model 1.2.0.1, CostAndUsage.
"""
