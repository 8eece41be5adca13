"""Budgets without input or output: scopes, calendars, limits, forecasts, alerts."""
