"""FOCUS 1.2, the open format of cost and usage: its columns, and what our own usage is in it.

Source: FinOps Open Cost and Usage Specification 1.2, https://focus.finops.org.
"""
