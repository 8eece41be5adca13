"""Detector `rates`, first part: commitments that would pay, and those that are not used up."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal

import numpy as np

from services.kernel.money import EXACT, add_exactly
from services.optimizer.domain.finding import (
    Effort,
    Estimate,
    Evidence,
    Finding,
    Kind,
    Risk,
    amount_text,
    estimate,
    money_of,
    part_of,
    parts_of,
    rounded,
    scope_of,
    text_of,
)
from services.optimizer.domain.idle import idle_reason
from services.optimizer.domain.off_hours import PROFILE as SHUTDOWN
from services.optimizer.domain.off_hours import sleeping_hours
from services.optimizer.domain.scaling import FLEET_TAG
from services.optimizer.domain.settings_of_detector import DetectorProfile, DetectorSettings
from services.optimizer.domain.spread import cost_spread, hourly
from services.optimizer.domain.statistics import (
    MONTH_DAYS,
    Floats,
    Measure,
    Resource,
    Statistics,
    UsageSeries,
)

PROFILE = DetectorProfile(
    detector_id="commitments",
    kinds=(Kind.COMMITMENT, Kind.UNUSED_COMMITMENT),
    description="Finds the amount an hour that a one-year commitment at the catalogue's reserved "
    "price pays best, its break-even and its risk under resampled futures; and commitments that "
    "the bill shows as unused.",
    history_days=30,
)
TERM_MONTHS = 12
TERM_WEEKS = 52
FUTURES = 200
SEED = 20_260_101
LOSS_PROBABILITY_MAX = 0.2
SAVING_RATIO_MIN = 0.05  # of what it covers: less is not worth being bound
UNUSED_TAG = "commitment_discount_status"
UNUSED = "unused"
COMMITTED_TAG = "commitment_discount_id"
HOUR_OF_WEEK_COUNT = 168
PERCENTILES = (5, 50, 95)


@dataclass(frozen=True, slots=True, kw_only=True)
class CommitmentPlan:
    """A commitment as shares of the mean on-demand cost an hour.

    level: on-demand cost an hour that it covers. coverage, use: shares in [0, 1]. savings: of each
    resampled future, over what on demand would cost in it.
    """

    level: float
    discount: float
    coverage: float
    use: float
    savings: Floats

    @property
    def break_even_use(self) -> float:
        """Share of the commitment that must be used for it to pay."""
        return 1 - self.discount

    @property
    def loss_probability(self) -> float:
        """Share of the futures in which it loses."""
        return float((self.savings < 0).mean())


def plan_commitment(demand: Floats, discount: float) -> CommitmentPlan:
    """Returns the level that saves most over resampled futures.

    demand: hourly on-demand cost over its mean. For one hour the best level is the quantile of the
    demand at the discount: beyond, less than 1 - discount of the hours use it. Futures are the
    recorded weeks drawn anew, with the trend's uncertainty, so that a shrinking demand shows as
    risk. discount: in (0, 1).
    """
    level = float(np.quantile(demand, discount))
    used = np.minimum(demand, level)
    weeks = demand.size // HOUR_OF_WEEK_COUNT
    by_week = demand[demand.size - weeks * HOUR_OF_WEEK_COUNT :].reshape(weeks, HOUR_OF_WEEK_COUNT)
    means = by_week.mean(axis=1)
    drift = float(np.polyfit(np.arange(weeks), means, 1)[0]) if weeks > 2 else 0.0  # noqa: PLR2004
    error = _slope_error(means, drift)
    draw = np.random.default_rng(SEED)
    savings = np.zeros(FUTURES)
    for index in range(FUTURES):
        # A trend is damped: half of it is believed to go on, for a quarter.
        slope = 0.5 * (drift + error * draw.standard_normal())
        path = np.clip(1 + slope * np.minimum(np.arange(1, TERM_WEEKS + 1), 13), 0.0, None)
        future = by_week[draw.integers(0, weeks, TERM_WEEKS)] * path[:, None]
        covered = np.minimum(future, level).sum()
        paid = level * (1 - discount) * future.size
        savings[index] = (covered - paid) / future.sum() if future.sum() > 0 else -1.0
    return CommitmentPlan(
        level=level,
        discount=discount,
        coverage=float(used.sum() / demand.sum()),
        use=float(used.mean() / level) if level > 0 else 0.0,
        savings=savings,
    )


def _slope_error(means: Floats, slope: float) -> float:
    count = means.size
    if count <= 2:  # noqa: PLR2004 - a line through two points has no error
        return 0.02
    steps = np.arange(count)
    rest = means - means.mean() - slope * (steps - steps.mean())
    spread = np.sqrt((rest**2).sum() / (count - 2))
    return float(spread / np.sqrt(((steps - steps.mean()) ** 2).sum()))


def find(statistics: Statistics, settings: DetectorSettings) -> Iterator[Finding]:
    """Yields advice about new commitments, then about unused ones."""
    yield from _new(statistics, settings)
    yield from _unused(statistics)


def _new(statistics: Statistics, settings: DetectorSettings) -> Iterator[Finding]:
    groups: dict[tuple[str, ...], list[tuple[Resource, float]]] = defaultdict(list)
    for resource in statistics.resources:
        subject = resource.subject
        known = statistics.catalogue.find(resource.instance_type, subject.region)
        is_committed = subject.tag(COMMITTED_TAG) or settings.excludes(resource.resource_id)
        if known is None or known.reserved_hourly_price is None or is_committed:
            continue
        if idle_reason(resource, hour_count=statistics.horizon):
            continue  # what is to be stopped is not to be paid for a year
        is_sleeper = sleeping_hours(statistics, resource, history_days_min=SHUTDOWN.history_days)
        if is_sleeper or subject.tag(FLEET_TAG):
            continue  # nor what is to sleep at night, or to follow the day
        if known.hourly_price > known.reserved_hourly_price > 0:
            discount = 1 - known.reserved_hourly_price / known.hourly_price
            kind = (known.provider, known.family, subject.region, subject.currency_code)
            groups[kind].append((resource, float(discount)))
    for key, members in sorted(groups.items()):
        series = [one for resource, _ in members for one in resource.series]
        found = _new_finding(statistics, settings, key, series, min(one for _, one in members))
        if found is not None:
            yield found


def _new_finding(
    statistics: Statistics,
    settings: DetectorSettings,
    key: tuple[str, ...],
    series: Sequence[UsageSeries],
    discount: float,
) -> Finding | None:
    demand = hourly(series, Measure.COST, statistics.hour_count)
    first = min(one.active_hours[0] for one in series)
    demand = demand[first:]
    mean = float(demand.mean())
    if mean <= 0 or demand.size < max(settings.history_days_min, 14) * 24:
        return None
    plan = plan_commitment(demand / mean, discount)
    low, middle, high = (float(one) for one in np.percentile(plan.savings, PERCENTILES))
    if plan.loss_probability > LOSS_PROBABILITY_MAX or middle < SAVING_RATIO_MIN * plan.coverage:
        return None
    if low <= 0:
        return None
    monthly_cost = statistics.monthly(series)
    saving = Estimate(*(part_of(monthly_cost, each) for each in (middle, low, high)))
    hourly_cost = EXACT.divide(monthly_cost, EXACT.multiply(MONTH_DAYS, Decimal(24)))
    hourly_commitment = part_of(hourly_cost, plan.level * (1 - discount))
    return _told(statistics, key, series, plan, saving=saving, hourly_commitment=hourly_commitment)


def _told(
    statistics: Statistics,
    key: tuple[str, ...],
    series: Sequence[UsageSeries],
    plan: CommitmentPlan,
    *,
    saving: Estimate,
    hourly_commitment: Decimal,
) -> Finding:
    code = key[-1]
    product = f"{key[0]} {key[1]} in {key[2] or 'any region'}, {TERM_MONTHS} months"
    return Finding(
        kind=Kind.COMMITMENT,
        detector_id=PROFILE.detector_id,
        key=f"new/{'/'.join(key)}",
        title=f"Commit to {amount_text(hourly_commitment, code)} an hour of {key[1]} in "
        f"{key[2] or 'any region'}",
        summary=f"A commitment covers {plan.coverage:.0%} of this use, is used to {plan.use:.0%} "
        f"and pays from {plan.break_even_use:.0%} on. It saves "
        f"{amount_text(saving.expected, code)} a month.",
        scope=scope_of(series),
        currency_code=code,
        saving=saving,
        parts=parts_of(statistics, series),
        confidence=Decimal(str(round(min(0.95, 1 - plan.loss_probability) * 0.9, 4))),
        effort=Effort.LOW,
        risk=Risk.MEDIUM,
        risk_note="It binds for a year: when use falls below the break-even it loses money.",
        detail={"commitment": _plan_detail(plan, product, saving, hourly_commitment, code)},
        evidence=[Evidence("use_of_commitment", text_of(plan.use, 4), "ratio")],
        steps=[
            "Check that none of these resources is to be moved or stopped within the year.",
            f"Buy the commitment: {product}.",
        ],
        verification_steps=["The bill shows the commitment used as predicted for two weeks."],
        rollback_steps=["It cannot be undone; let it lapse, or sell it where the provider allows."],
    )


def _plan_detail(
    plan: CommitmentPlan, product: str, saving: Estimate, hourly_cost: Decimal, code: str
) -> dict[str, object]:
    # The whole term is owed; it has paid once what it covered would have cost as much on demand.
    break_even_days = 365 * plan.break_even_use / max(plan.use, plan.break_even_use)
    return {
        "product": product,
        "term_months": TERM_MONTHS,
        "hourly_commitment": money_of(hourly_cost, code),
        "coverage_ratio": text_of(plan.coverage),
        "utilization_ratio": text_of(plan.use),
        "break_even_ratio": text_of(plan.break_even_use),
        "break_even_days": text_of(break_even_days, 1),
        "loss_probability_ratio": text_of(plan.loss_probability),
        "term_saving": _interval(saving.scaled(Decimal(TERM_MONTHS)), code),
    }


def _interval(saving: Estimate, code: str) -> dict[str, object]:
    return {
        "expected": money_of(saving.expected, code),
        "lower": money_of(saving.lower, code),
        "upper": money_of(saving.upper, code),
        "confidence_ratio": "0.9",
    }


def _unused(statistics: Statistics) -> Iterator[Finding]:
    groups: dict[tuple[str, str], list[UsageSeries]] = defaultdict(list)
    for one in statistics.series:
        if one.subject.tag(UNUSED_TAG).lower() == UNUSED and one.cost > 0:
            name = one.subject.tag(COMMITTED_TAG) or one.subject.resource_id or one.subject.service
            groups[name, one.subject.currency_code].append(one)
    for (name, code), members in sorted(groups.items()):
        monthly_cost = statistics.monthly(members)
        if monthly_cost <= 0:
            continue
        used = add_exactly(
            one.cost
            for one in statistics.series
            if one.subject.tag(COMMITTED_TAG) == name and one not in members
        )
        unused = add_exactly(one.cost for one in members)
        yield Finding(
            kind=Kind.UNUSED_COMMITMENT,
            detector_id=PROFILE.detector_id,
            key=f"unused/{name}/{code}",
            title=f"Use up or give back the commitment {name}",
            summary=f"{amount_text(monthly_cost, code)} a month is paid for a commitment that "
            "nothing uses.",
            scope=scope_of(members),
            currency_code=code,
            saving=estimate(
                rounded(monthly_cost), spread=cost_spread(statistics, members), ceiling=monthly_cost
            ),
            parts=parts_of(statistics, members),
            confidence=Decimal("0.8"),
            effort=Effort.LOW,
            risk=Risk.LOW,
            risk_note="None, while the work that it would cover runs on demand elsewhere.",
            detail={
                "commitment": {
                    "product": name,
                    "utilization_ratio": text_of(EXACT.divide(used, used + unused)),
                    "coverage_ratio": "0",
                }
            },
            evidence=[Evidence("unused_cost", text_of(unused, 9), code)],
            steps=["Widen its scope to other accounts, exchange it for what runs, or sell it."],
            verification_steps=["The unused part in the bill falls."],
            rollback_steps=["Narrow its scope again."],
        )
