"""Runs the budget service: `python -m services.budget`."""

from __future__ import annotations

from services.budget.bootstrap import serve
from services.budget.settings import BudgetSettings
from services.kernel.server import run

if __name__ == "__main__":
    run(serve(BudgetSettings()))
