"""Changes that are only assumed: what spend would be then."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import IntEnum

import numpy as np

from services.kernel.filter import evaluate, parse_filter
from services.kernel.money import EXACT
from services.optimizer.domain.finding import part_of, rounded
from services.optimizer.domain.statistics import Measure, Statistics, UsageSeries
from services.optimizer.domain.substitution import blended_prices, price_of
from services.optimizer.domain.tariff import is_named
from services.optimizer.errors import UnknownWhatIf


class WhatIfKind(IntEnum):
    """Kinds of assumptions, as the contract numbers them."""

    VOLUME = 1
    PRICE = 2
    MODEL = 3
    REGION = 4
    INSTANCE_TYPE = 5
    STOP = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class WhatIf:
    """One assumption. movable: share of the work that it applies to, in [0, 1]."""

    kind: WhatIfKind
    filter: str = ""
    change: Decimal = Decimal(0)
    target: str = ""
    movable: Decimal = Decimal(1)
    off_hours: Sequence[int] = ()

    def __post_init__(self) -> None:
        if self.change < -1:
            raise UnknownWhatIf("change_ratio is at least -1, which is nothing left")


def assumed(
    statistics: Statistics, monthly: Mapping[int, Decimal], what_ifs: Sequence[WhatIf]
) -> dict[int, Decimal]:
    """Returns what series cost under all assumptions, applied in their order.

    Raises InvalidFilter and its kinds, UnknownWhatIf where no price tells.
    """
    left = dict(monthly)
    for one in what_ifs:
        expression = parse_filter(one.filter) if one.filter.strip() else None
        for series in statistics.series:
            is_meant = expression is None or evaluate(expression, series.subject.fields())
            if is_meant and left.get(series.series_id):
                factor = _factor(statistics, series, one)
                changed = EXACT.multiply(left[series.series_id], factor - 1)
                moved = EXACT.multiply(changed, one.movable)
                left[series.series_id] = rounded(EXACT.add(left[series.series_id], moved))
    return left


def _factor(statistics: Statistics, series: UsageSeries, one: WhatIf) -> Decimal:
    subject = series.subject
    if one.kind in (WhatIfKind.VOLUME, WhatIfKind.PRICE):
        return 1 + one.change
    if one.kind is WhatIfKind.STOP:
        weights = series.hours[Measure.COST]
        total = float(weights.sum())
        off = float(weights[np.isin(statistics.local_hours, list(one.off_hours))].sum())
        return 1 - part_of(Decimal(1), off / total if total > 0 else 0.0)
    if one.kind is WhatIfKind.MODEL:
        blended = blended_prices(statistics)
        model = (subject.provider, subject.resource_id, subject.currency_code)
        now = price_of(blended, model)
        then = min(
            (
                price
                for (_, name, code), price in blended.items()
                if is_named(name, one.target) and code == subject.currency_code
            ),
            default=None,
        )
        return _quotient(now, then, one)
    name = subject.tag("instance_type") or subject.service
    known = statistics.catalogue.find(name, subject.region)
    other = (
        statistics.catalogue.find(name, one.target)
        if one.kind is WhatIfKind.REGION
        else statistics.catalogue.find(one.target, subject.region)
    )
    return _quotient(
        known.hourly_price if known else None, other.hourly_price if other else None, one
    )


def _quotient(now: Decimal | None, then: Decimal | None, one: WhatIf) -> Decimal:
    if not now or then is None:
        raise UnknownWhatIf(
            f"there is no price of {one.target[:80] or 'the target'} to compare with; narrow the "
            "filter to what it replaces, or load its price",
            target=one.target[:80],
        )
    return EXACT.divide(then, now)
