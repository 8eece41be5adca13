"""Every kind of waste, recorded as usage and found as advice over real services."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from finops.optimizer.v1 import optimizer_messages_pb2 as messages
from finops.optimizer.v1 import optimizer_model_pb2 as model
from finops.optimizer.v1 import resource_service_pb2, run_model_pb2
from finops.usage.v1 import (
    peak_schedule_messages_pb2,
    pricing_model_pb2,
    pricing_service_pb2,
    usage_model_pb2,
)
from google.api.httpbody_pb2 import HttpBody

from tests.optimizer.conftest import Desk
from tests.optimizer.making import CATALOGUE, DAYS, FACTORS, START, instant, machine_hours

LATE = 16  # days of most usage; a commitment wants more
END = START + timedelta(days=DAYS)
TYPES = pricing_model_pb2


def usage(
    name: str,
    resource_type: str,
    *,
    unit: str = "unit",
    cost: str = "0.1",
    quantity: str = "1",
    times: int = 1,
    hours: tuple[int, int] = (0, 24),
    days: int = LATE,
    tags: dict[str, str] | None = None,
    **fields: Any,
) -> Iterator[usage_model_pb2.UsageEvent]:
    """Yields so many events in each of some hours of the day; cost is of one."""
    for hour in range(days * 24):
        at = END - timedelta(days=days) + timedelta(hours=hour)
        for number in range(times) if hours[0] <= at.hour < hours[1] else ():
            yield usage_model_pb2.UsageEvent(
                event_id=f"{name}-{at:%Y%m%d%H}-{number}",
                source="test",
                start_time=instant(at),
                resource_type=resource_type,
                unit=unit,
                quantity=quantity,
                cost=usage_model_pb2.UsageCost(currency_code="USD", billed=cost),
                tags=tags or {},
                **fields,
            )


def machine(name: str, cpu: Any, **changed: Any) -> Iterator[usage_model_pb2.UsageEvent]:
    days = changed.pop("days", LATE)
    memory = changed.pop("memory", None)
    place = {"start": END - timedelta(days=days), "days": days}
    yield from machine_hours(name, cpu, **place, **changed)
    if memory is not None:
        yield from machine_hours(name, lambda _: memory, measure="memory", **place, **changed)


def at_work(at: datetime) -> float:
    return 0.65 if at.weekday() < 5 and 9 <= at.hour < 18 else 0.01


def wave(at: datetime) -> float:
    return 0.66 if 8 <= at.hour < 20 else 0.1


def machines() -> Iterator[usage_model_pb2.UsageEvent]:
    yield from machine("large", lambda _: 0.1, memory=0.12)
    yield from machine("idle", lambda _: 0.002)
    stopped = END - timedelta(days=15)
    yield from machine("left", lambda at: 0.4 if at < stopped else 0.01)
    yield from machine("dev", at_work, tags={"environment": "dev"})
    yield from machine("steady", lambda _: 0.65, days=40)
    yield from machine("movable", lambda _: 0.65, tags={"movable": "true"})
    for number in range(3):
        yield from machine(f"web-{number}", wave, tags={"fleet": "web"})
        yield from machine(f"tool-{number}", lambda _: 0.1, memory=0.2, kind="bare", tags=POOL)


POOL = {"pool": "tools"}


def work() -> Iterator[usage_model_pb2.UsageEvent]:
    agent: dict[str, Any] = {"resource_type": "llm", "service": "agent", "provider": "acme-cloud"}
    failed: dict[str, Any] = {"outcome": usage_model_pb2.OUTCOME_FAILED, "retries": 2, **agent}
    yield from usage("fine", cost="0.5", **agent)
    yield from usage("slow", cost="0.3", hours=(3, 5), error_code="TIMEOUT", **failed)
    yield from usage(
        "burst", cost="0.3", times=60, days=1, hours=(5, 6), error_code="LIMIT", **failed
    )
    won = {**failed, "outcome": usage_model_pb2.OUTCOME_SUCCEEDED, "retries": 1}
    yield from usage("won", cost="0.3", hours=(6, 8), error_code="LIMIT", **won)
    yield from usage("etl", "etl", unit="hour", hours=(9, 17), tags={"deadline_hours": "24"})
    yield from usage(
        "mail", "mail", unit="request", times=150, hours=(7, 8), days=8, tags={"batchable": "true"}
    )
    # 300 a day are 9,131 a month, of the 10,000 at which each costs less.
    yield from usage("sms", "sms", unit="message", quantity="12.5", cost="1.25")
    yield from usage("page", "web", service="cart", cost="0.05", days=8)
    calls = {"caller": "cart"}
    yield from usage("call", "web", service="stock", cost="0.01", times=8, days=8, tags=calls)
    unused = {"commitment_discount_status": "Unused", "commitment_discount_id": "cd-9"}
    yield from usage("unused", "commitment", days=40, hours=(0, 1), tags=unused)


def models() -> Iterator[usage_model_pb2.UsageEvent]:
    place: dict[str, Any] = {
        "resource_type": "llm",
        "provider": "acme-cloud",
        "quantity": "1000000",
    }
    repeated: dict[str, Any] = {
        "unit": "repeated_input_token",
        "resource_id": "atlas-2026-01",
        **place,
    }
    yield from usage("repeated", cost="2.5", **repeated)
    simple: dict[str, Any] = {
        "unit": "token",
        "resource_id": "large-1-2026-01",
        "tags": {"complexity": "low"},
    }
    yield from usage("simple", cost="10", **simple, **place)


async def price(desk: Desk, resource_type: str, meter: str, amount: str, **fields: Any) -> None:
    tiers = fields.pop("tiers", [TYPES.PriceTier(unit_price=amount)])
    found = TYPES.Price(
        price_book_id="own",
        resource_type=resource_type,
        meter=meter,
        currency_code="USD",
        model=fields.pop("model", TYPES.PRICING_MODEL_PER_UNIT),
        tiers=tiers,
        **fields,
    )
    await desk.pricing().CreatePrice(pricing_service_pb2.CreatePriceRequest(price=found))


async def prepare(desk: Desk) -> None:
    """Loads the catalogue, the factors and the prices."""
    content = HttpBody(data=CATALOGUE)
    await desk.resources().ImportCatalogue(
        resource_service_pb2.ImportCatalogueRequest(catalogue_id="acme", content=content)
    )
    await desk.resources().ImportEmissionFactors(
        resource_service_pb2.ImportEmissionFactorsRequest(content=HttpBody(data=FACTORS))
    )
    pricing = desk.pricing()
    await pricing.CreatePriceBook(
        pricing_service_pb2.CreatePriceBookRequest(price_book=TYPES.PriceBook(price_book_id="own"))
    )
    window = TYPES.PeakWindow(weekdays=range(1, 8), start="09:00", end="18:00", multiplier="1.5")
    await pricing.CreatePeakSchedule(
        peak_schedule_messages_pb2.CreatePeakScheduleRequest(
            peak_schedule=TYPES.PeakSchedule(
                peak_schedule_id="day", time_zone="UTC", windows=[window]
            )
        )
    )
    await price(desk, "etl", "hour", "0.0667", peak_schedule_id="day")
    tiers = [
        TYPES.PriceTier(up_to="10000", unit_price="0.1"),
        TYPES.PriceTier(unit_price="0.06"),
    ]
    await price(desk, "sms", "message", "", tiers=tiers, model=TYPES.PRICING_MODEL_VOLUME)
    acme = {"provider": "acme-cloud"}
    # As public price lists name models: by patterns that leave the version open.
    await price(desk, "llm", "cached_input_token", "0.0000003", resource_id="atlas*", **acme)
    for name, amount in (("large-1*", "0.00001"), ("small-1*", "0.000002")):
        for meter in ("input_token", "output_token"):
            await price(desk, "llm", meter, amount, resource_id=name, **acme)


EXPECTED = {
    ("ERROR_REDUCTION", "agent"),
    ("RIGHTSIZING", "large"),
    ("IDLE_RESOURCE", "idle"),
    ("IDLE_RESOURCE", "left"),
    ("SHUTDOWN", "dev"),
    ("SCALING", "web-0"),
    ("SCHEDULING", "etl"),
    ("BATCHING", "mail"),
    ("VOLUME_PRICE", "sms"),
    ("CONSOLIDATION", "tool-0"),
    ("CACHING", "atlas-2026-01"),
    ("CHATTY_SERVICES", "stock"),
    ("COMMITMENT", "steady"),
    ("UNUSED_COMMITMENT", "commitment"),
    ("MODEL_SUBSTITUTION", "large-1-2026-01"),
    ("REGION_MOVE", "movable"),
    ("CARBON", "movable"),
}


def names_of(one: model.Recommendation) -> set[tuple[str, str]]:
    """Returns what advice is of, by its kind: resources, the service, else the type."""
    kind = model.RecommendationKind.Name(one.kind).removeprefix("RECOMMENDATION_KIND_")
    scope = one.scope
    names = {*scope.resource_ids, scope.service or scope.resource_type}
    return {(kind, name) for name in names}


async def test_every_kind_of_waste_is_found_with_what_it_needs(desk: Desk) -> None:
    await prepare(desk)
    await desk.record([*machines(), *work(), *models()])

    request = messages.GenerateRecommendationsRequest()
    request.wait.FromSeconds(30)
    answer = await desk.optimizer().GenerateRecommendations(request, timeout=60)

    assert answer.run.state == run_model_pb2.RUN_STATE_SUCCEEDED, answer.run
    found = {name: one for one in answer.recommendations for name in names_of(one)}
    assert EXPECTED - found.keys() == set()
    for one in answer.recommendations:
        saving = one.monthly_saving
        lower, expected, upper = (
            Decimal(getattr(saving, bound).amount) for bound in ("lower", "expected", "upper")
        )
        assert 0 <= lower <= expected <= upper <= Decimal(one.monthly_cost.amount)
        assert one.steps
        assert one.verification_steps
        assert one.rollback_steps
        assert one.evidence
        assert one.effort
        assert one.risk
        assert 0 < Decimal(one.confidence_ratio) <= 1
        assert one.detail.WhichOneof("detail")
    retry = found["ERROR_REDUCTION", "agent"].detail.retry
    classes = {one.error_code: one for one in retry.classes}
    assert classes["LIMIT"].burst
    assert not classes["TIMEOUT"].burst
    assert list(retry.retryable_error_codes) == ["LIMIT"]
    assert retry.attempts_max == 2
    # 92 failures at 0.3, three attempts each: all once but the 60 that may be tried twice; the 32
    # that were won in the end stay.
    assert Decimal(retry.simulated_cost.amount) == Decimal("3.2") + Decimal(12) + Decimal("9.6")
    assert "14 days" in found["IDLE_RESOURCE", "left"].detail.rightsizing.idle_reason
    assert "24 hours" in found["SCHEDULING", "etl"].detail.scheduling.deadline_note
    assert Decimal(found["CARBON", "movable"].monthly_kg_co2e) > 5
    assert found["MODEL_SUBSTITUTION", "large-1-2026-01"].detail.substitution.proposed == "small-1*"
