"""Fixtures that every test may ask for."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, settings

# A busy machine may take its time for one example; that says nothing about the code.
settings.register_profile(
    "suite", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True
)
settings.load_profile("suite")

pytest_plugins = ["tests.support.database", "tests.support.redis"]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Shows what tests counted, as the steps of a state machine."""
    for report in terminalreporter.getreports("passed"):
        for name, value in report.user_properties:
            terminalreporter.write_line(f"{report.nodeid}: {name} {value}")
