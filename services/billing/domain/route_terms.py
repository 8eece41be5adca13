"""How long a route of usage to a provider's meters holds. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from services.billing.domain.billing_period import BillingCalendar
from services.billing.domain.metered_route import MeterRoute
from services.billing.domain.metering import hour_of, metered_period
from services.billing.domain.subscription import Phase, PhaseMode
from services.kernel.period import Period

HOUR = timedelta(hours=1)


def parts_of(route: MeterRoute, calendar: BillingCalendar, until: datetime) -> list[Period]:
    """Returns the hours of a route until then, cut where the periods are, oldest first."""
    end = until if route.ends_at is None else min(until, route.ends_at)
    found: list[Period] = []
    begin = route.starts_at
    while begin < end:
        # What begins in the middle of an hour has the whole of it.
        hours = metered_period(calendar.period(begin + HOUR))
        stop = end if hours is None else hours.end
        whole = stop if route.ends_at is None else min(stop, route.ends_at)
        found.append(Period(begin, whole))
        begin = stop
    return found


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
