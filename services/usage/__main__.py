"""Runs the usage service: `python -m services.usage`."""

from __future__ import annotations

from services.kernel.server import run
from services.usage.bootstrap import serve
from services.usage.settings import UsageSettings

if __name__ == "__main__":
    run(serve(UsageSettings()))
