"""Runs the reporting service: `python -m services.reporting`."""

from __future__ import annotations

from services.kernel.server import run
from services.reporting.bootstrap import serve
from services.reporting.settings import ReportingSettings

if __name__ == "__main__":
    run(serve(ReportingSettings()))
