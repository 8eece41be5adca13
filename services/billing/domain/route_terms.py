"""How long a route of usage to a provider's meters holds. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from services.billing.domain.metered_route import MeterRoute
from services.billing.domain.metering import hour_of
from services.billing.domain.subscription import Phase, PhaseMode


def end_of(
    route: MeterRoute, held: Sequence[Phase], unbilled_from: datetime | None
) -> datetime | None:
    """Returns when the terms of a route ended, None while they hold.

    unbilled_from: since when usage is not billed, None where it is.
    """
    ends = [each for each in (_end_of_terms(route, held), unbilled_from) if each is not None]
    return max(route.starts_at, min(ends)) if ends else None


def _end_of_terms(route: MeterRoute, held: Sequence[Phase]) -> datetime | None:
    end: datetime | None = None
    for phase in held:
        if phase.end_at is not None and hour_of(phase.end_at) <= route.starts_at:
            continue
        terms = (phase.plan_id, phase.plan_version, phase.mode)
        if terms != (route.plan_id, route.plan_version, PhaseMode.BILLED):
            return end or phase.start_at
        if phase.end_at is None:
            return None
        end = phase.end_at
    return end
