"""Assumed changes, and the best, likely and worst course of the future."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from services.reporting.domain.forecast.answer import Scenario, rounded
from services.reporting.domain.forecast.series_forecast import Band, SeriesForecast
from services.reporting.domain.forecast.wish import WhatIf, WhatIfKind

Floats = NDArray[np.float64]

MONTH_DAYS = 365.25 / 12
DAY_SECONDS = 86_400.0
# One of ten courses is cheaper than the best case, one of ten dearer than the worst.
TAIL = 0.1


def with_change(
    total: SeriesForecast,
    matched: SeriesForecast,
    what_if: WhatIf,
    *,
    edges: Sequence[datetime],
    start: datetime,
) -> SeriesForecast:
    """Adds what an assumed change makes of the usage it applies to.

    matched: forecast of that usage. edges: first instants of the steps, and the end of the last.
    """
    begins = np.array([edge.timestamp() for edge in edges[:-1]])
    lengths = np.diff([edge.timestamp() for edge in edges]) / DAY_SECONDS
    days = (begins - start.timestamp()) / DAY_SECONDS + lengths / 2
    share = ramp(days, what_if.ramp_days)
    change = float(what_if.change_ratio)
    if what_if.kind is WhatIfKind.GROWTH:
        months = np.maximum(days, 0) / MONTH_DAYS
        delta = matched.mean * ((1 + change) ** months - 1) * (days >= 0)
    elif what_if.kind is WhatIfKind.PRICE:
        delta = matched.mean * change * share
    elif what_if.kind is WhatIfKind.END:
        delta = -matched.mean * share
    else:
        monthly = what_if.monthly_amount
        delta = float(monthly) * lengths / MONTH_DAYS * share
    mean = np.maximum(total.mean + delta, 0)
    bands = tuple(
        Band(
            band.level,
            np.clip(band.lower + delta, 0, mean),
            np.maximum(band.upper + delta, mean),
        )
        for band in total.bands
    )
    return replace(total, mean=mean, bands=bands, paths=np.maximum(total.paths + delta, 0))


def ramp(days: Floats, ramp_days: int) -> Floats:
    """Returns how much of a change is in effect, 0 to 1, so many days after its start."""
    if ramp_days == 0:
        return np.where(days >= 0, 1.0, 0.0)
    return np.clip(days / ramp_days, 0, 1)


def scenarios(
    total: SeriesForecast, likely: object, what_ifs: Sequence[WhatIf]
) -> tuple[Scenario, ...]:
    """Returns the three courses over the horizon. likely: the sum as it is told elsewhere."""
    amount = rounded(float(str(likely)))
    low, high = np.quantile(total.paths.sum(axis=1), [TAIL, 1 - TAIL])
    assumed = tuple(assumption(what_if) for what_if in what_ifs)
    basis = (
        "usage goes on as its history of "
        f"{total.history_points} steps lets the model {total.model} expect"
    )
    miss = "the forecast misses as it missed in the backtest"
    return (
        Scenario(
            "best",
            min(rounded(float(low)), amount),
            (basis, f"{miss}; one course of ten costs less", *assumed),
        ),
        Scenario("likely", amount, (basis, *assumed)),
        Scenario(
            "worst",
            max(rounded(float(high)), amount),
            (basis, f"{miss}; one course of ten costs more", *assumed),
        ),
    )


def assumption(what_if: WhatIf) -> str:
    """Says an assumed change in words."""
    where = f" where {what_if.filter}" if what_if.filter else ""
    since = f" from {what_if.start}" if what_if.start else ""
    over = f", coming in over {what_if.ramp_days} days" if what_if.ramp_days else ""
    percent = f"{(what_if.change_ratio * 100).normalize():+f} %"
    if what_if.kind is WhatIfKind.GROWTH:
        return f"usage{where} grows by {percent} a month{since}"
    if what_if.kind is WhatIfKind.PRICE:
        return f"prices{where} change by {percent}{since}{over}"
    if what_if.kind is WhatIfKind.END:
        return f"usage{where} ends{since}{over}"
    amount = f"{what_if.monthly_amount} {what_if.monthly_currency}"
    return f"something new costs {amount} a month{since}{over}"
