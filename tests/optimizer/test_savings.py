"""Savings: claimed, simulated and measured, over real services."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

from finops.optimizer.v1 import optimizer_messages_pb2 as messages
from finops.optimizer.v1 import optimizer_model_pb2 as model
from finops.optimizer.v1 import resource_service_pb2, saving_model_pb2
from google.api.httpbody_pb2 import HttpBody

from services.kernel.audit import verify
from tests.optimizer.conftest import Desk
from tests.optimizer.making import CATALOGUE, DAYS, START, machine_hours
from tests.support.server import refused

CHANGE = datetime(2026, 2, 20, 12, tzinfo=UTC)


async def found_idle(desk: Desk) -> tuple[model.Recommendation, model.Recommendation]:
    """Records two machines that are idle, and found so, until they are stopped, beside others."""
    days = (CHANGE - START).days
    later = START + timedelta(days=days)
    await desk.record(
        [
            *machine_hours("idle", lambda _: 0.002, days=days),
            *machine_hours("stays", lambda at: 0.6 + 0.1 * (at.hour % 3), price="1.1"),
            # Neither what other advice stopped nor money of another kind tells how the rest grew.
            *machine_hours("other", lambda _: 0.002, price="0.9", days=days),
            *machine_hours("abroad", lambda _: 0.6, price="1", currency="JPY", days=days),
            *machine_hours(
                *("abroad", lambda _: 0.6),
                price="90",
                currency="JPY",
                start=later,
                days=DAYS - days,
            ),
        ]
    )
    request = messages.GenerateRecommendationsRequest(
        detector_ids=["idle"], end=f"{CHANGE:%Y-%m-%d}"
    )
    answer = await desk.optimizer().GenerateRecommendations(request, timeout=60)
    names = {one.scope.resource_ids[0]: one for one in answer.recommendations}
    assert set(names) == {"idle", "other"}
    return names["idle"], names["other"]


async def completed(desk: Desk, one: model.Recommendation) -> None:
    """Says that it was done at the change."""
    changed = model.Recommendation(
        recommendation_id=one.recommendation_id, state=model.RECOMMENDATION_STATE_COMPLETED
    )
    changed.completion_time.FromDatetime(CHANGE)
    request = messages.UpdateRecommendationRequest(recommendation=changed)
    await desk.optimizer().UpdateRecommendation(request)


async def test_a_completed_saving_is_measured_against_what_would_have_been(desk: Desk) -> None:
    one, other = await found_idle(desk)
    stub = desk.optimizer()
    for each in (one, other):
        await completed(desk, each)

    for each in (other, one):
        request = messages.VerifyRecommendationRequest(recommendation_id=each.recommendation_id)
        measured = (await stub.VerifyRecommendation(request)).measurement

    assert measured.verdict == saving_model_pb2.SAVING_VERDICT_VERIFIED
    # 24 whole days after the change, at 0.4 an hour.
    realized = Decimal(measured.realized.expected.amount)
    assert abs(realized - Decimal("230.4")) < 5
    assert Decimal(measured.actual_cost.amount) == 0
    after = measured.after
    assert after.end_time.ToDatetime() - after.start_time.ToDatetime() == timedelta(days=24)
    assert abs(Decimal(measured.claimed.expected.amount) - Decimal("230.4")) < 1
    shown = (
        await stub.GetRecommendation(
            messages.GetRecommendationRequest(recommendation_id=one.recommendation_id)
        )
    ).recommendation
    assert shown.state == model.RECOMMENDATION_STATE_VERIFIED
    # The schedule measured as well: completed long ago, it was due at once.
    assert shown.measurement.verdict == measured.verdict
    savings = await stub.GetSavings(messages.GetSavingsRequest(group_by="detector"))
    assert savings.total.verified_count == 2
    assert [row.group for row in savings.rows] == ["idle"]
    assert abs(Decimal(savings.total.realized_ratio) - 1) < Decimal("0.05")
    ids = [each.recommendation_id for each in savings.measurements]
    assert ids == [other.recommendation_id, one.recommendation_id]
    calibration = await stub.GetClaimCalibration(messages.GetClaimCalibrationRequest())
    assert (calibration.total.measured_count, calibration.total.precision_ratio) == (2, "1")
    listed = await stub.ListSavingMeasurements(
        messages.ListSavingMeasurementsRequest(
            recommendation_id=one.recommendation_id, filter="verdict = VERIFIED"
        )
    )
    ids = [each.measurement_id for each in listed.measurements]
    assert measured.measurement_id in ids
    async with desk.stage.database.system_transaction() as tx:
        assert (await verify(tx, desk.tenant)).first_broken_sequence is None


async def test_what_was_not_done_is_refuted(desk: Desk) -> None:
    await desk.record(list(machine_hours("idle", lambda _: 0.002)))
    stub = desk.optimizer()
    request = messages.GenerateRecommendationsRequest(detector_ids=["idle"])
    one = (await stub.GenerateRecommendations(request, timeout=60)).recommendations[0]
    await completed(desk, one)

    verify_request = messages.VerifyRecommendationRequest(recommendation_id=one.recommendation_id)
    measured = (await stub.VerifyRecommendation(verify_request)).measurement

    assert measured.verdict == saving_model_pb2.SAVING_VERDICT_REFUTED


async def test_a_smaller_machine_is_measured_though_its_type_changes(desk: Desk) -> None:
    prices = CATALOGUE.replace(b"0.4,0.28", b"0.3833,").replace(b"0.2,0.14", b"0.19165,")
    await desk.resources().ImportCatalogue(
        resource_service_pb2.ImportCatalogueRequest(
            catalogue_id="acme", content=HttpBody(data=prices)
        )
    )
    days = (CHANGE - START).days

    def use(at: datetime) -> float:
        return 0.28 + 0.02 * (at.hour % 3)

    after = START + timedelta(days=days)
    shared = [
        *machine_hours("shrinks", use, price="0.38333333", days=days),
        *machine_hours("shrinks", lambda _: 0.3, measure="memory", days=days),
        *machine_hours("others", lambda _: 0.7, price="4.1666666667", kind="none"),
    ]
    await desk.record(shared)
    stub = desk.optimizer()
    request = messages.GenerateRecommendationsRequest(
        detector_ids=["rightsizing"], end=f"{CHANGE:%Y-%m-%d}"
    )
    one = (await stub.GenerateRecommendations(request, timeout=60)).recommendations[0]
    smaller = machine_hours(
        "shrinks",
        lambda at: 2 * use(at),
        price="0.191666665",
        kind="big.xlarge",
        start=after,
        days=DAYS - days,
    )
    await desk.record(list(smaller))
    changed = model.Recommendation(
        recommendation_id=one.recommendation_id, state=model.RECOMMENDATION_STATE_COMPLETED
    )
    changed.completion_time.FromDatetime(after - timedelta(hours=1))
    await stub.UpdateRecommendation(messages.UpdateRecommendationRequest(recommendation=changed))

    verify_request = messages.VerifyRecommendationRequest(recommendation_id=one.recommendation_id)
    measured = (await stub.VerifyRecommendation(verify_request)).measurement

    span = measured.after.end_time.ToDatetime() - measured.after.start_time.ToDatetime()
    # Half of 9.20 a day, 138 in 30 days.
    realized = Decimal(measured.realized.expected.amount)
    assert abs(realized - Decimal("4.6") * span.days) < 3
    assert abs(Decimal(measured.actual_cost.amount) - Decimal("4.6") * span.days) < 1
    assert measured.verdict == saving_model_pb2.SAVING_VERDICT_VERIFIED


async def test_a_simulation_counts_overlaps_once_and_takes_assumptions(desk: Desk) -> None:
    await desk.record(
        [
            *machine_hours("idle", lambda _: 0.002),
            *machine_hours("stays", lambda at: 0.6 + 0.1 * (at.hour % 3), price="1"),
        ]
    )
    stub = desk.optimizer()
    request = messages.GenerateRecommendationsRequest(detector_ids=["idle"])
    await stub.GenerateRecommendations(request, timeout=60)

    plain = await stub.SimulateSavings(messages.SimulateSavingsRequest(horizon_days=365))
    halved = await stub.SimulateSavings(
        messages.SimulateSavingsRequest(
            horizon_days=365,
            what_ifs=[
                saving_model_pb2.WhatIf(
                    kind=saving_model_pb2.WHAT_IF_KIND_VOLUME,
                    filter='resource_id = "idle"',
                    change_ratio="-0.5",
                )
            ],
        )
    )
    stopped = await stub.SimulateSavings(
        messages.SimulateSavingsRequest(
            what_ifs=[
                saving_model_pb2.WhatIf(
                    kind=saving_model_pb2.WHAT_IF_KIND_STOP, off_hours=list(range(84))
                )
            ]
        )
    )

    saved = Decimal(plain.joint_saving.expected.amount)
    baseline = Decimal(plain.baseline_cost.amount)
    assert abs(saved - Decimal(3504)) < 1  # 0.4 an hour for a year
    assert Decimal(plain.simulated_cost.amount) == baseline - saved
    assert abs(Decimal(halved.joint_saving.expected.amount) - saved / 2) < 1
    share = Decimal(stopped.baseline_cost.amount) / (baseline * 90 / 365)
    assert abs(share - Decimal("0.5")) < Decimal("0.05")
    unknown = await refused(
        stub.SimulateSavings(
            messages.SimulateSavingsRequest(
                what_ifs=[
                    saving_model_pb2.WhatIf(kind=saving_model_pb2.WHAT_IF_KIND_MODEL, target="none")
                ]
            )
        )
    )
    assert unknown.reason == "UNKNOWN_WHAT_IF"
