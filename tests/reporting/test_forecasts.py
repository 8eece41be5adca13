"""Forecast and GetForecastAccuracy over real usage and budgets."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import grpc
import pytest
from finops.budget.v1 import budget_model_pb2, budget_service_pb2
from finops.common.v1.money_pb2 import Money
from finops.reporting.v1 import forecast_model_pb2 as model
from finops.reporting.v1 import reporting_messages_pb2 as messages

from services.kernel.clock import ManualClock
from services.kernel.database import Database
from services.reporting import bootstrap
from services.reporting.bootstrap import ReportingService
from services.reporting.domain.forecast.steps import read_instant
from services.reporting.errors import InvalidForecastInstant, TooManyGroups
from services.reporting.service.histories import histories
from services.reporting.service.peers import SeriesAnswer, SeriesPoint
from services.reporting.settings import ReportingSettings
from tests.reporting.conftest import NOW, SECRETS, TODAY, Caller
from tests.support.server import LocalServer, refused, service_token_of, serving

WEEK = [30, 32, 31, 33, 30, 10, 8]


def weeks(count: int, *, factor: Decimal = Decimal(1)) -> list[str]:
    return [str(WEEK[day % 7] * factor + Decimal(day % 5)) for day in range(count * 7)]


async def test_a_forecast_names_model_error_and_history(caller: Caller) -> None:
    await caller.record_days(weeks(20))

    answer = await caller.forecasts.Forecast(messages.ForecastRequest(horizon_days=14))

    total = answer.total
    assert len(total.points) == 14
    assert total.points[0].start_time.ToDatetime(tzinfo=UTC) == TODAY
    assert answer.horizon.end_time.ToDatetime(tzinfo=UTC) == TODAY + timedelta(days=14)
    assert total.model
    assert not total.baseline
    assert total.history_points == 140
    assert list(total.seasonalities) == ["week"]
    assert Decimal(total.error.mase) < 1
    assert total.error.origin_count >= 24
    assert [each.model for each in total.alternatives]
    assert answer.as_of_sequence
    assert answer.series == [total]


async def test_every_band_holds_its_value_and_totals_add_up(caller: Caller) -> None:
    await caller.record_days(weeks(16))

    answer = await caller.forecasts.Forecast(messages.ForecastRequest(horizon_days=7))

    for point in answer.total.points:
        for band in point.bands:
            assert 0 <= Decimal(band.lower) <= Decimal(point.value) <= Decimal(band.upper)
    total = answer.total.total_cost
    assert Decimal(total.expected.amount) == sum(
        Decimal(point.value) for point in answer.total.points
    )
    assert Decimal(total.lower.amount) <= Decimal(total.expected.amount)
    assert total.confidence_ratio == "0.95"


async def test_groups_add_up_to_the_total_to_the_last_digit(caller: Caller) -> None:
    await caller.record_days(weeks(12), resource_type="llm")
    await caller.record_days(weeks(12, factor=Decimal(3)), resource_type="gpu")
    await caller.record_days(["5.55"] * 20, resource_type="storage")

    answer = await caller.forecasts.Forecast(
        messages.ForecastRequest(horizon_days=10, group_by=["resource_type"])
    )

    assert [each.group["resource_type"] for each in answer.series] == ["gpu", "llm", "storage"]
    for step, point in enumerate(answer.total.points):
        parts = sum(Decimal(each.points[step].value) for each in answer.series)
        assert Decimal(point.value) == parts


async def test_a_short_history_gets_a_baseline_that_says_so(caller: Caller) -> None:
    await caller.record_days(["10", "12", "11"])

    answer = await caller.forecasts.Forecast(messages.ForecastRequest(horizon_days=5))

    assert answer.total.baseline
    assert "only 3 values" in answer.total.explanation
    assert not answer.total.HasField("error")


async def test_without_any_history_there_is_no_forecast(caller: Caller) -> None:
    refusal = await refused(caller.forecasts.Forecast(messages.ForecastRequest()))

    assert refusal.code is grpc.StatusCode.FAILED_PRECONDITION
    assert refusal.reason == "NO_HISTORY"


async def test_quantity_is_forecast_in_its_unit_and_mixed_units_are_refused(
    caller: Caller,
) -> None:
    await caller.record_days(weeks(4), quantity="3", unit="call")

    request = messages.ForecastRequest(horizon_days=4, measure="quantity")
    answer = await caller.forecasts.Forecast(request)
    await caller.record_days(weeks(4), unit="gb", resource_type="disk")
    refusal = await refused(caller.forecasts.Forecast(request))

    assert answer.total.total_quantity.unit == "call"
    assert Decimal(answer.total.total_quantity.expected) == 12
    assert refusal.reason == "MIXED_FORECAST_UNITS"


async def test_scenarios_are_ordered_and_state_what_they_assume(caller: Caller) -> None:
    await caller.record_days(weeks(12))

    answer = await caller.forecasts.Forecast(messages.ForecastRequest(horizon_days=30))

    best, likely, worst = answer.scenarios
    assert [best.kind, likely.kind, worst.kind] == ["best", "likely", "worst"]
    amounts = [Decimal(each.cost.amount) for each in answer.scenarios]
    assert amounts == sorted(amounts)
    assert all(each.assumptions for each in answer.scenarios)


async def test_what_ifs_change_the_total_by_what_they_say(caller: Caller) -> None:
    await caller.record_days(["10"] * 40)
    plain = await caller.forecasts.Forecast(messages.ForecastRequest(horizon_days=10))

    dearer = await caller.forecasts.Forecast(
        messages.ForecastRequest(
            horizon_days=10,
            what_ifs=[
                model.ForecastWhatIf(kind=model.FORECAST_WHAT_IF_KIND_PRICE, change_ratio="0.5")
            ],
        )
    )
    launched = await caller.forecasts.Forecast(
        messages.ForecastRequest(
            horizon_days=10,
            what_ifs=[
                model.ForecastWhatIf(
                    kind=model.FORECAST_WHAT_IF_KIND_LAUNCH,
                    monthly_amount=Money(currency_code="USD", amount="304.375"),
                )
            ],
        )
    )
    ended = await caller.forecasts.Forecast(
        messages.ForecastRequest(
            horizon_days=10,
            what_ifs=[
                model.ForecastWhatIf(
                    kind=model.FORECAST_WHAT_IF_KIND_END, filter='resource_type = "llm"'
                )
            ],
        )
    )

    amounts = [
        Decimal(each.total.total_cost.expected.amount) for each in (plain, dearer, launched, ended)
    ]
    assert amounts == [100, 150, 200, 0]
    assert "prices change by +50 %" in dearer.scenarios[1].assumptions


async def test_a_budget_has_a_breach_date_with_a_probability(caller: Caller) -> None:
    await caller.record_days(weeks(20))
    made = await caller.budgets.CreateBudget(
        budget_service_pb2.CreateBudgetRequest(
            budget=budget_model_pb2.Budget(
                display_name="Everything",
                scope=budget_model_pb2.BudgetScope(),
                cadence=budget_model_pb2.BUDGET_CADENCE_MONTHLY,
                amount=Money(currency_code="USD", amount="600"),
            )
        )
    )

    answer = await caller.forecasts.Forecast(
        messages.ForecastRequest(horizon_days=30, budget_id=made.budget.budget_id)
    )

    outlook = answer.budget
    assert outlook.limit.amount == "600"
    assert Decimal(outlook.breach_probability_ratio) > Decimal("0.9")
    breach = outlook.breach_time.ToDatetime(tzinfo=UTC)
    assert TODAY < breach < datetime(2026, 7, 1, tzinfo=UTC)
    window = outlook.breach_window
    assert window.start_time.ToDatetime(tzinfo=UTC) <= breach
    assert breach <= window.end_time.ToDatetime(tzinfo=UTC)


async def test_an_unknown_budget_is_refused(caller: Caller) -> None:
    await caller.record_days(weeks(3))

    refusal = await refused(
        caller.forecasts.Forecast(messages.ForecastRequest(budget_id="missing"))
    )

    assert refusal.reason == "BUDGET_REFUSED"


async def test_without_a_budget_service_only_budgets_are_refused(
    reporting_database: Database, usage_server: LocalServer, caller: Caller, tenant: str
) -> None:
    usage = usage_server.channel_with(service_token_of("reporting", tenant=""))
    alone = bootstrap.build(
        reporting_database, usage, None, ReportingSettings(**SECRETS), clock=ManualClock(NOW)
    )
    await caller.record_days(weeks(3))

    async with serving(*alone.servicers, database=reporting_database) as server:
        stub = type(caller.forecasts)(server.channel("org_admin", tenant=tenant))
        answer = await stub.Forecast(messages.ForecastRequest())
        refusal = await refused(stub.Forecast(messages.ForecastRequest(budget_id="one")))

    assert answer.total.points
    assert refusal.reason == "BUDGETS_NOT_CONNECTED"


@pytest.mark.parametrize(
    ("request_", "reason"),
    [
        (messages.ForecastRequest(filter='planet = "mars"'), "USAGE_QUESTION_REFUSED"),
        (messages.ForecastRequest(history_end="yesterday"), "INVALID_FORECAST_INSTANT"),
        (messages.ForecastRequest(confidence_ratios=["1"]), "FIELD_VIOLATIONS"),
    ],
)
async def test_what_cannot_be_asked_is_refused(
    caller: Caller, request_: messages.ForecastRequest, reason: str
) -> None:
    refusal = await refused(caller.forecasts.Forecast(request_))

    assert refusal.reason == reason


async def test_too_many_groups_are_refused() -> None:
    points = tuple(
        SeriesPoint((("user", str(user)),), TODAY, Decimal(1), None, "") for user in range(1_001)
    )

    with pytest.raises(TooManyGroups) as caught:
        histories(SeriesAnswer(points, ""), [TODAY], measure="cost")

    assert caught.value.reason == "TOO_MANY_FORECAST_GROUPS"
    assert caught.value.metadata == {"groups": "1001"}


async def test_past_forecasts_are_judged_by_what_came(
    caller: Caller, clock: ManualClock, built: ReportingService
) -> None:
    await caller.record_days(weeks(10))
    await caller.forecasts.Forecast(messages.ForecastRequest(horizon_days=7))
    await caller.record_days(["40"] * 7, until=TODAY + timedelta(days=7))

    early = await caller.forecasts.GetForecastAccuracy(
        messages.GetForecastAccuracyRequest(horizon_days=7)
    )
    clock.advance(timedelta(days=7))
    late = await caller.forecasts.GetForecastAccuracy(
        messages.GetForecastAccuracyRequest(horizon_days=7)
    )
    repeated = await built.forecasts.repeat_all()

    assert not early.comparisons
    (comparison,) = late.comparisons
    assert comparison.actual.amount == "280"
    forecast, actual = Decimal(comparison.forecast.expected.amount), Decimal(280)
    assert Decimal(comparison.error_ratio) == pytest.approx(
        (forecast - actual) / actual, abs=Decimal("0.000001")
    )
    assert comparison.inside == (
        Decimal(comparison.forecast.lower.amount)
        <= actual
        <= Decimal(comparison.forecast.upper.amount)
    )
    assert late.error.origin_count == 1
    assert repeated >= 1


def test_a_time_without_a_zone_is_refused() -> None:
    with pytest.raises(InvalidForecastInstant) as caught:
        read_instant("2026-03-01T00:00:00", UTC)  # type: ignore[arg-type]

    assert caught.value.reason == "INVALID_FORECAST_INSTANT"
