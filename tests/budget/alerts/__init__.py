"""Alerts and notifications, against real receivers."""
