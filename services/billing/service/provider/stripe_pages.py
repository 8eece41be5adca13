"""What every request to Stripe needs: pages, keys, instants, plain values."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any

import stripe

from services.billing.service.provider.port import Refused
from services.billing.service.provider.stripe_faults import asked, is_gone


async def pages(call: Any, params: dict[str, Any]) -> AsyncIterator[dict[str, Any]]:
    """Yields the items of every page as plain values."""
    after: dict[str, Any] = {}
    while True:
        page = plain(await asked(call({**params, **after})))
        for found in page["data"]:
            yield found
        if not page["has_more"] or not page["data"]:
            return
        after = {"starting_after": page["data"][-1]["id"]}


def plain(found: Any) -> dict[str, Any]:
    """Returns an object of the SDK as plain values."""
    values: dict[str, Any] = found.to_dict()
    return values


def key_of(key: str) -> Any:
    """Returns the options that bear an idempotency key."""
    return {"idempotency_key": key}


def seconds(at: datetime) -> int:
    """Returns an instant as Stripe takes it."""
    return int(at.timestamp())


def was_gone(fault: Refused) -> bool:
    """Tells whether Stripe does not have the object, or has it no more."""
    return isinstance(fault.__cause__, stripe.StripeError) and is_gone(fault.__cause__)
