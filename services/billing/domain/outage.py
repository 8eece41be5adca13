"""Outages of a payment provider: how long it is left alone before it is asked again. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

FIRST_PAUSE = timedelta(seconds=1)
PAUSE_MAX = timedelta(seconds=15)  # what waits is taken up so soon after the provider is back
_DOUBLINGS_MAX = 10  # bounds the number, not the pause


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderOutage:
    """An account that does not answer. tenant_id: whose settings open it.

    probe_count: how often it was asked in vain since. error: what came of it last.
    """

    tenant_id: str
    began_at: datetime
    probe_count: int
    next_probe_at: datetime
    error: str


def pause_after(probe_count: int, spread: float) -> timedelta:
    """Returns how long to leave it alone after so many vain probes: doubling up to a bound.

    spread: in [0, 1), drawn anew for each pause, so that what went down together does not come
    back together. The pause is between half of the bound and the bound.
    """
    bound = min(FIRST_PAUSE * (1 << min(probe_count, _DOUBLINGS_MAX)), PAUSE_MAX)
    return bound * (1 + spread) / 2
