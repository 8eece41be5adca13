"""Savings, measurements and simulations between contract and domain."""

from __future__ import annotations

from decimal import Decimal

from finops.optimizer.v1 import optimizer_messages_pb2, saving_model_pb2

from services.kernel.listing import page_request
from services.kernel.money import parse_decimal
from services.kernel.pagination import Page, PageRequest
from services.optimizer.convert.values import (
    from_amount,
    from_estimate,
    from_figure,
    from_instant,
    from_period,
)
from services.optimizer.domain.savings import Calibration, Measurement, SavingsRow
from services.optimizer.domain.what_if import WhatIf, WhatIfKind
from services.optimizer.service.saving import Savings, Simulation

_SERVICE = "finops.optimizer.v1.OptimizerService"


def to_page(
    request: optimizer_messages_pb2.ListSavingMeasurementsRequest, tenant_id: str
) -> PageRequest:
    """Returns which page of measurements is asked."""
    method = f"{_SERVICE}/ListSavingMeasurements/{request.recommendation_id}"
    return page_request(request, tenant_id=tenant_id, method=method)


def from_measurements(
    page: Page[Measurement],
) -> optimizer_messages_pb2.ListSavingMeasurementsResponse:
    """Converts a page of measurements."""
    return optimizer_messages_pb2.ListSavingMeasurementsResponse(
        measurements=[from_measurement(one) for one in page.items],
        next_page_token=page.next_page_token,
    )


def from_measurement(one: Measurement) -> saving_model_pb2.SavingMeasurement:
    """Converts a measurement."""
    code, saving = one.currency_code, one.saving
    return saving_model_pb2.SavingMeasurement(
        measurement_id=one.measurement_id,
        recommendation_id=one.recommendation_id,
        verdict=saving_model_pb2.SavingVerdict.ValueType(int(one.verdict)),
        before=from_period(one.before),
        after=from_period(one.after),
        claimed=from_estimate(one.claimed, code),
        realized=from_estimate(saving.realized, code),
        actual_cost=from_amount(saving.actual, code),
        counterfactual_cost=from_amount(saving.counterfactual.expected, code),
        volume_effect_ratio=from_figure(saving.volume_effect),
        price_effect_ratio=from_figure(saving.price_effect_ratio),
        model=saving.model,
        model_error_ratio=from_figure(saving.error_ratio),
        measure_time=from_instant(one.measured_at),
    )


def from_savings(found: Savings) -> optimizer_messages_pb2.GetSavingsResponse:
    """Converts savings."""
    return optimizer_messages_pb2.GetSavingsResponse(
        total=_row(found.total, found.currency_code),
        rows=[_row(row, found.currency_code) for row in found.rows],
        measurements=[from_measurement(one) for one in found.measurements],
    )


def _row(row: SavingsRow, code: str) -> saving_model_pb2.SavingsRow:
    return saving_model_pb2.SavingsRow(
        group=row.group,
        recommendation_count=row.recommendation_count,
        completed_count=row.completed_count,
        verified_count=row.verified_count,
        open_monthly_saving=from_estimate(row.open_monthly, code),
        claimed=from_estimate(row.claimed, code),
        realized=from_estimate(row.realized, code),
        one_time_cost=from_amount(row.one_time_cost, code),
        return_ratio=from_figure(row.return_ratio),
        realized_ratio=from_figure(row.realized_ratio),
        saved_kg_co2e=from_figure(row.kg_co2e),
    )


def from_calibrations(
    each: list[Calibration], total: Calibration
) -> optimizer_messages_pb2.GetClaimCalibrationResponse:
    """Converts how claims came true."""
    return optimizer_messages_pb2.GetClaimCalibrationResponse(
        detectors=[_calibration(one) for one in each], total=_calibration(total)
    )


def _calibration(one: Calibration) -> saving_model_pb2.ClaimCalibration:
    return saving_model_pb2.ClaimCalibration(
        detector_id=one.detector_id,
        measured_count=one.measured_count,
        verified_count=one.verified_count,
        refuted_count=one.refuted_count,
        realized_ratio=from_figure(one.realized_ratio),
        coverage_ratio=from_figure(one.coverage_ratio),
        precision_ratio=from_figure(one.precision_ratio),
        dismissed_ratio=from_figure(one.dismissed_ratio),
    )


def to_what_ifs(request: optimizer_messages_pb2.SimulateSavingsRequest) -> list[WhatIf]:
    """Converts assumptions. Raises UnknownWhatIf."""
    return [
        WhatIf(
            kind=WhatIfKind(one.kind),
            filter=one.filter,
            change=parse_decimal(one.change_ratio or "0"),
            target=one.target,
            movable=parse_decimal(one.movable_ratio or "1"),
            off_hours=tuple(one.off_hours),
        )
        for one in request.what_ifs
    ]


def from_simulation(found: Simulation) -> optimizer_messages_pb2.SimulateSavingsResponse:
    """Converts a simulation."""
    joint, code = found.joint, found.currency_code
    left: Decimal = joint.baseline - joint.saving.expected
    return optimizer_messages_pb2.SimulateSavingsResponse(
        joint_saving=from_estimate(joint.saving, code),
        separate_saving=from_amount(joint.separate, code),
        baseline_cost=from_amount(joint.baseline, code),
        simulated_cost=from_amount(left, code),
        saved_kg_co2e=from_figure(found.kg_co2e),
        savings=[
            saving_model_pb2.SimulatedSaving(
                recommendation_id=share.recommendation_id,
                separate_saving=from_amount(share.separate.expected, code),
                marginal_saving=from_amount(share.marginal.expected, code),
                excluded=share.is_excluded,
            )
            for share in joint.shares
        ],
        conflicts=[f"{taken}/{excluded}" for taken, excluded in joint.conflicts],
    )
