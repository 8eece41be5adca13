"""How prices of a scope moved from day to day, by the price book."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal

from services.kernel.money import EXACT
from services.kernel.period import Period
from services.optimizer.domain.finding import Scope
from services.optimizer.domain.subject import Subject
from services.optimizer.domain.tariff import Tariff, best_tariff


def price_index(tariffs: Sequence[Tariff], scope: Scope, period: Period) -> dict[date, Decimal]:
    """Returns by UTC day the mean price over that of the first day, over all meters of a scope.

    Meters without a price on the first day or on a day are left out of that day; a day without
    any is 1.
    """
    subject = Subject(
        resource_type=scope.resource_type,
        unit="",
        currency_code="",
        service=scope.service,
        provider=scope.provider,
        region=scope.region,
        resource_id=scope.resource_ids[0] if scope.resource_count == 1 else "",
    )
    meters = sorted({one.meter for one in tariffs if one.matches(subject)})
    found: dict[date, Decimal] = {}
    first: dict[str, Decimal] = {}
    day = period.start.astimezone(UTC).date()
    while day < period.end.astimezone(UTC).date():
        noon = datetime.combine(day, time(12), tzinfo=UTC)
        ratios = []
        for meter in meters:
            tariff = best_tariff(tariffs, subject, meter, noon)
            if tariff is None or tariff.unit_price <= 0:
                continue
            base = first.setdefault(meter, tariff.unit_price)
            ratios.append(EXACT.divide(tariff.unit_price, base))
        found[day] = sum(ratios, Decimal(0)) / len(ratios) if ratios else Decimal(1)
        day += timedelta(days=1)
    return found
