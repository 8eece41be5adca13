"""Savings claimed and realized, by group and by detector."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from statistics import median

from services.kernel.money import EXACT, add_exactly
from services.kernel.period import Period
from services.optimizer.domain.counterfactual import RealizedSaving
from services.optimizer.domain.finding import Estimate
from services.optimizer.domain.lifecycle import DONE, OPEN, Recommendation, State, Verdict
from services.optimizer.domain.portfolio import ZERO, Advice, joint_saving


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """One measurement of a completed recommendation. Amounts are of its currency."""

    measurement_id: str
    recommendation_id: str
    verdict: Verdict
    currency_code: str
    before: Period
    after: Period
    claimed: Estimate
    saving: RealizedSaving
    measured_at: datetime

    def is_within_claim(self) -> bool:
        """Tells whether what was realized lay in the claimed interval."""
        return self.claimed.lower <= self.saving.realized.expected <= self.claimed.upper


@dataclass(frozen=True, slots=True, kw_only=True)
class SavingsRow:
    """Savings of one group. counts: all, completed, verified."""

    group: str
    recommendation_count: int
    completed_count: int
    verified_count: int
    open_monthly: Estimate
    claimed: Estimate
    realized: Estimate
    one_time_cost: Decimal
    kg_co2e: Decimal | None

    @property
    def return_ratio(self) -> Decimal | None:
        """What was realized over what was paid, None when nothing was paid."""
        return _ratio(self.realized.expected, self.one_time_cost)

    @property
    def realized_ratio(self) -> Decimal | None:
        """What was realized over what was claimed, None when nothing was claimed."""
        return _ratio(self.realized.expected, self.claimed.expected)


def savings_row(
    group: str, members: Sequence[Recommendation], newest: dict[str, Measurement]
) -> SavingsRow:
    """Adds up a group. newest: by recommendation its newest measurement that has a verdict."""
    measured = [newest[one.recommendation_id] for one in members if one.recommendation_id in newest]
    done = [one for one in members if one.state in DONE]
    joint = joint_saving([advice_of(one) for one in members if one.state in OPEN])
    carbon = [
        one.finding.monthly_kg_co2e for one in done if one.finding.monthly_kg_co2e is not None
    ]
    return SavingsRow(
        group=group,
        recommendation_count=len(members),
        completed_count=len(done),
        verified_count=sum(one.state is State.VERIFIED for one in members),
        open_monthly=joint.saving,
        claimed=total(one.claimed for one in measured),
        realized=total(one.saving.realized for one in measured),
        one_time_cost=add_exactly(one.finding.one_time_cost or Decimal(0) for one in done),
        kg_co2e=add_exactly(carbon) if carbon else None,
    )


def advice_of(one: Recommendation) -> Advice:
    """Returns what a portfolio needs of a recommendation."""
    finding = one.finding
    return Advice(
        recommendation_id=one.recommendation_id,
        kind=finding.kind,
        saving=finding.saving,
        parts=finding.parts,
    )


def total(estimates: Iterable[Estimate]) -> Estimate:
    """Adds estimates; the errors of independent measurements add in squares."""
    found = list(estimates)
    if not found:
        return ZERO
    expected = add_exactly(one.expected for one in found)
    below = sum((one.expected - one.lower) ** 2 for one in found)
    above = sum((one.upper - one.expected) ** 2 for one in found)
    return Estimate(expected, expected - _root(below), expected + _root(above))


def _root(square: Decimal | int) -> Decimal:
    return Decimal(square).sqrt().quantize(Decimal("0.000001"))


def _ratio(part: Decimal, whole: Decimal) -> Decimal | None:
    return EXACT.divide(part, whole) if whole > 0 else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """How well the claims of a detector came true; ratios are None when nothing tells."""

    detector_id: str
    measured_count: int
    verified_count: int
    refuted_count: int
    realized_ratio: Decimal | None
    coverage_ratio: Decimal | None
    precision_ratio: Decimal | None
    dismissed_ratio: Decimal | None


def calibration(
    detector_id: str, members: Sequence[Recommendation], newest: dict[str, Measurement]
) -> Calibration:
    """Compares claims with what was measured. members: of one detector, or all."""
    measured = [newest[one.recommendation_id] for one in members if one.recommendation_id in newest]
    verified = sum(one.verdict is Verdict.VERIFIED for one in measured)
    refuted = sum(one.verdict is Verdict.REFUTED for one in measured)
    ratios = [
        EXACT.divide(one.saving.realized.expected, one.claimed.expected)
        for one in measured
        if one.claimed.expected > 0
    ]
    within = sum(one.is_within_claim() for one in measured)
    dismissed = sum(one.state is State.DISMISSED for one in members)
    return Calibration(
        detector_id=detector_id,
        measured_count=len(measured),
        verified_count=verified,
        refuted_count=refuted,
        realized_ratio=median(ratios) if ratios else None,
        coverage_ratio=_ratio(Decimal(within), Decimal(len(measured))),
        precision_ratio=_ratio(Decimal(verified), Decimal(verified + refuted)),
        dismissed_ratio=_ratio(Decimal(dismissed), Decimal(len(members))),
    )


# As many findings as a prior belief weighs: a single dismissal must not silence a detector.
PRIOR_WEIGHT = Decimal(10)
TRUST_MIN = Decimal("0.5")


def trust(wrong: int, judged: int) -> Decimal:
    """Returns the factor on a detector's confidence after so many of its findings were judged.

    wrong: dismissed as not applicable, or refuted.
    """
    share = (PRIOR_WEIGHT + judged - wrong) / (PRIOR_WEIGHT + judged)
    return max(share, TRUST_MIN)
