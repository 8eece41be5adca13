"""From recorded usage to a decision, over real services."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from decimal import Decimal
from typing import Any

import grpc
from finops.optimizer.v1 import optimizer_messages_pb2 as messages
from finops.optimizer.v1 import optimizer_model_pb2 as model
from finops.optimizer.v1 import resource_service_pb2, run_model_pb2
from google.api.httpbody_pb2 import HttpBody
from google.protobuf.field_mask_pb2 import FieldMask

from tests.optimizer.conftest import Desk
from tests.optimizer.making import CATALOGUE, START, machine_hours
from tests.support.server import all_of, refused

LATELY: dict[str, Any] = {"start": START + timedelta(days=44), "days": 15}


async def with_waste(desk: Desk) -> list[model.Recommendation]:
    """Records an idle, an oversized and a busy machine, and returns the advice."""
    await desk.resources().ImportCatalogue(
        resource_service_pb2.ImportCatalogueRequest(
            catalogue_id="acme", content=HttpBody(data=CATALOGUE)
        )
    )
    await desk.record(
        [
            *machine_hours("idle", lambda _: 0.002, **LATELY),
            *machine_hours("large", lambda at: 0.08 + 0.04 * (at.hour % 2), **LATELY),
            *machine_hours("large", lambda _: 0.12, measure="memory", **LATELY),
            *machine_hours("busy", lambda at: 0.7 + 0.2 * (at.hour % 2), **LATELY),
        ]
    )
    request = messages.GenerateRecommendationsRequest(detector_ids=["idle", "rightsizing"])
    request.wait.FromSeconds(30)
    answer = await desk.optimizer().GenerateRecommendations(request, timeout=60)
    assert answer.run.state == run_model_pb2.RUN_STATE_SUCCEEDED, answer.run
    return list(answer.recommendations)


async def get(desk: Desk, one: model.Recommendation) -> model.Recommendation:
    request = messages.GetRecommendationRequest(recommendation_id=one.recommendation_id)
    found: model.Recommendation = (await desk.optimizer().GetRecommendation(request)).recommendation
    return found


async def update(desk: Desk, one: model.Recommendation, **fields: Any) -> model.Recommendation:
    changed = model.Recommendation(recommendation_id=one.recommendation_id, **fields)
    request = messages.UpdateRecommendationRequest(recommendation=changed, note="because")
    answer = await desk.optimizer().UpdateRecommendation(request)
    found: model.Recommendation = answer.recommendation
    return found


async def test_waste_becomes_advice_with_exact_money_and_its_life_is_told(desk: Desk) -> None:
    found = await with_waste(desk)

    kinds = {one.scope.resource_ids[0]: one for one in found}
    assert set(kinds) == {"idle", "large"}
    idle, large = kinds["idle"], kinds["large"]
    assert idle.kind == model.RECOMMENDATION_KIND_IDLE_RESOURCE
    # 0.4 an hour over an average month of 730.5 hours.
    assert Decimal(idle.monthly_saving.expected.amount) == Decimal("292.2")
    assert large.detail.rightsizing.proposed_type == "big.large"
    assert Decimal(large.monthly_saving.expected.amount) == Decimal("219.15")
    assert {fit.measure for fit in large.detail.rightsizing.fits} == {"cpu", "memory"}
    assert large.steps
    assert large.rollback_steps
    assert large.verification_steps

    accepted = await update(
        desk, large, state=model.RECOMMENDATION_STATE_ACCEPTED, owner="ada", etag=large.etag
    )
    assert (accepted.owner, accepted.etag) == ("ada", "r2")
    history = (await get(desk, large)).events
    assert [event.to_state for event in history] == [
        model.RECOMMENDATION_STATE_PROPOSED,
        model.RECOMMENDATION_STATE_ACCEPTED,
    ]
    assert history[1].actor == "ada"
    watched = desk.optimizer().WatchRecommendations(messages.WatchRecommendationsRequest())
    told = await asyncio.wait_for(all_of(watched, most=3), 20)
    assert told[2].recommendation.recommendation_id == large.recommendation_id
    assert told[2].event.note == "because"


async def test_a_list_filters_orders_pages_and_counts_overlaps_once(desk: Desk) -> None:
    await with_waste(desk)
    stub = desk.optimizer()

    first = await stub.ListRecommendations(messages.ListRecommendationsRequest(page_size=1))
    second = await stub.ListRecommendations(
        messages.ListRecommendationsRequest(page_size=1, page_token=first.next_page_token)
    )
    assert [one.rank for one in (*first.recommendations, *second.recommendations)] == [1, 2]
    assert not second.next_page_token
    assert Decimal(first.joint_monthly_saving.expected.amount) == Decimal("511.35")
    filtered = await stub.ListRecommendations(
        messages.ListRecommendationsRequest(
            filter='resource_id = "large" AND kind = RIGHTSIZING AND monthly_saving > 100'
        )
    )
    assert len(filtered.recommendations) == 1
    euros = await stub.ListRecommendations(messages.ListRecommendationsRequest(currency="EUR"))
    assert euros.recommendations[0].monthly_saving.expected.currency_code == "EUR"


async def test_advice_in_several_currencies_is_compared_in_the_tenants_own(desk: Desk) -> None:
    await desk.record(
        [
            *machine_hours("dollars", lambda _: 0.002, **LATELY),
            *machine_hours("both", lambda _: 0.002, price="0.2", **LATELY),
            *machine_hours("both", lambda _: 0.002, price="10", currency="JPY", **LATELY),
        ]
    )
    stub = desk.optimizer()
    request = messages.GenerateRecommendationsRequest(detector_ids=["idle"])
    answer = await stub.GenerateRecommendations(request, timeout=60)
    again = await stub.GenerateRecommendations(request, timeout=60)

    found = [one.monthly_saving.expected.currency_code for one in answer.recommendations]
    assert found == ["USD", "USD", "JPY"]
    assert (answer.run.found_count, again.run.refreshed_count) == (3, 3)
    # 7,305 yen a month are some fifty dollars.
    large, order = "monthly_saving > 100", "monthly_saving desc"
    listed = await stub.ListRecommendations(
        messages.ListRecommendationsRequest(filter=large, order_by=order)
    )
    assert [one.rank for one in listed.recommendations] == [1, 2]


async def test_dismissed_advice_stays_dismissed_and_snoozed_advice_is_hidden(desk: Desk) -> None:
    found = await with_waste(desk)
    idle = next(one for one in found if one.scope.resource_ids[0] == "idle")
    large = next(one for one in found if one.scope.resource_ids[0] == "large")
    reasonless = await refused(update(desk, idle, state=model.RECOMMENDATION_STATE_DISMISSED))
    assert reasonless.reason == "DISMISSAL_REASON_REQUIRED"

    await update(
        desk,
        idle,
        state=model.RECOMMENDATION_STATE_DISMISSED,
        dismissal_reason=model.DISMISSAL_REASON_EXPECTED,
    )
    later = model.Recommendation()
    later.snooze_end_time.FromJsonString("2026-04-01T00:00:00Z")
    await update(desk, large, snooze_end_time=later.snooze_end_time)
    request = messages.GenerateRecommendationsRequest(detector_ids=["idle", "rightsizing"])
    answer = await desk.optimizer().GenerateRecommendations(request, timeout=60)

    assert answer.run.found_count == 0
    assert not answer.recommendations
    state = (await get(desk, idle)).state
    assert state == model.RECOMMENDATION_STATE_DISMISSED


async def test_what_did_not_apply_makes_its_detector_less_sure(desk: Desk) -> None:
    for name in ("first", "second"):
        await desk.record(list(machine_hours(name, lambda _: 0.002, **LATELY)))
    request = messages.GenerateRecommendationsRequest(detector_ids=["idle"])
    stub = desk.optimizer()
    first, _ = (await stub.GenerateRecommendations(request, timeout=60)).recommendations
    await update(
        desk,
        first,
        state=model.RECOMMENDATION_STATE_DISMISSED,
        dismissal_reason=model.DISMISSAL_REASON_NOT_APPLICABLE,
    )

    (left,) = (await stub.GenerateRecommendations(request, timeout=60)).recommendations

    # One of one was wrong; what is believed beforehand weighs ten.
    assert Decimal(first.confidence_ratio) == Decimal("0.9")
    assert abs(Decimal(left.confidence_ratio) - Decimal("0.9") * 10 / 11) < Decimal("0.000001")


async def test_what_is_done_is_not_proposed_again_from_the_usage_before(desk: Desk) -> None:
    found = await with_waste(desk)
    idle = next(one for one in found if one.scope.resource_ids[0] == "idle")
    await update(desk, idle, state=model.RECOMMENDATION_STATE_COMPLETED)

    request = messages.GenerateRecommendationsRequest(detector_ids=["idle", "rightsizing"])
    again = (await desk.optimizer().GenerateRecommendations(request, timeout=60)).run

    assert (again.found_count, again.refreshed_count) == (0, 1)


async def test_runs_at_once_propose_the_same_once(desk: Desk) -> None:
    await desk.record(list(machine_hours("idle", lambda _: 0.002, **LATELY)))
    request = messages.GenerateRecommendationsRequest(detector_ids=["idle"])
    stub = desk.optimizer()

    answers = await asyncio.gather(
        *(stub.GenerateRecommendations(request, timeout=60) for _ in range(4))
    )

    assert sum(answer.run.found_count for answer in answers) == 1
    assert sum(answer.run.refreshed_count for answer in answers) == 3


async def test_without_its_catalogue_what_is_proposed_expires_and_is_told(desk: Desk) -> None:
    found = await with_waste(desk)
    large = next(one for one in found if one.scope.resource_ids[0] == "large")
    delete = resource_service_pb2.DeleteCatalogueRequest(catalogue_id="acme")
    await desk.resources().DeleteCatalogue(delete)

    events = (await get(desk, large)).events

    assert events[-1].to_state == model.RECOMMENDATION_STATE_EXPIRED
    assert events[-1].note == "catalogue acme was deleted"
    watched = desk.optimizer().WatchRecommendations(messages.WatchRecommendationsRequest())
    told = await asyncio.wait_for(all_of(watched, most=3), 20)
    assert told[2].event.note == "catalogue acme was deleted"


async def test_without_its_catalogue_what_was_accepted_stays(desk: Desk) -> None:
    found = await with_waste(desk)
    large = next(one for one in found if one.scope.resource_ids[0] == "large")
    await update(desk, large, state=model.RECOMMENDATION_STATE_ACCEPTED)

    delete = resource_service_pb2.DeleteCatalogueRequest(catalogue_id="acme")
    await desk.resources().DeleteCatalogue(delete)

    assert (await get(desk, large)).state == model.RECOMMENDATION_STATE_ACCEPTED


async def test_what_may_not_be_is_refused_with_its_reason(desk: Desk) -> None:
    found = await with_waste(desk)
    stub = desk.optimizer()
    one = found[0]

    moved = await refused(update(desk, one, state=model.RECOMMENDATION_STATE_VERIFIED))
    stale = await refused(update(desk, one, notes="x", etag="r99"))
    unknown = await refused(
        stub.GetRecommendation(messages.GetRecommendationRequest(recommendation_id="none"))
    )
    early = await refused(
        stub.VerifyRecommendation(
            messages.VerifyRecommendationRequest(recommendation_id=one.recommendation_id)
        )
    )
    instant = await refused(
        stub.GenerateRecommendations(messages.GenerateRecommendationsRequest(start="yesterday"))
    )
    for start, end in (("0001-01-01", ""), ("2021-01-01", "2026-01-01"), ("", "9999-12-31")):
        request = messages.GenerateRecommendationsRequest(start=start, end=end)
        bounds = await refused(stub.GenerateRecommendations(request))
        assert bounds.reason == "INVALID_OPTIMIZER_INSTANT"
    for text in ("2026-03-18T00:00:00Z", "2020-01-01T00:00:00Z"):
        done = model.Recommendation()
        done.completion_time.FromJsonString(text)
        at = done.completion_time
        completed = model.RECOMMENDATION_STATE_COMPLETED
        odd = await refused(update(desk, one, state=completed, completion_time=at))
        assert odd.reason == "INVALID_OPTIMIZER_INSTANT"
    mask = await refused(
        stub.UpdateRecommendation(
            messages.UpdateRecommendationRequest(
                recommendation=one, update_mask=FieldMask(paths=["nothing"])
            )
        )
    )
    detector = await refused(
        stub.GenerateRecommendations(messages.GenerateRecommendationsRequest(detector_ids=["x"]))
    )

    assert moved.reason == "TRANSITION_NOT_ALLOWED"
    assert (stale.reason, stale.code) == ("STALE_RECOMMENDATION", grpc.StatusCode.ABORTED)
    assert unknown.reason == "RECOMMENDATION_NOT_FOUND"
    assert early.reason == "NOT_COMPLETED"
    assert instant.reason == "INVALID_OPTIMIZER_INSTANT"
    assert mask.reason == "UNKNOWN_MASK_PATH"
    assert detector.reason == "DETECTOR_NOT_FOUND"
