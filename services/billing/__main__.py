"""Runs the billing service: `python -m services.billing`."""

from __future__ import annotations

from services.billing.bootstrap import serve
from services.billing.settings import BillingSettings
from services.kernel.server import run

if __name__ == "__main__":
    run(serve(BillingSettings()))
