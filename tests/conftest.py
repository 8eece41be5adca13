"""Fixtures that every test may ask for."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# A busy machine may take its time for one example; that says nothing about the code.
settings.register_profile(
    "suite", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True
)
settings.load_profile("suite")

pytest_plugins = ["tests.support.database", "tests.support.redis"]

# What starts whole stacks: some share one, and others want the default ports.
_STACKS = ("e2e", "cli", "test_readme.py")


def pytest_collection_modifyitems(items: Sequence[pytest.Item]) -> None:
    """Keeps what shares servers on one worker, where tests run on several."""
    root = Path(__file__).parent
    for item in items:
        path = item.path.relative_to(root)
        group = "stacks" if path.parts[0] in _STACKS else str(path)
        item.add_marker(pytest.mark.xdist_group(group))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Shows what tests counted, as the steps of a state machine."""
    for report in terminalreporter.getreports("passed"):
        for name, value in report.user_properties:
            terminalreporter.write_line(f"{report.nodeid}: {name} {value}")
