"""Cost questions: exact over roll-ups, deltas and raw edges, at every moment of a merge."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.kernel.database import Database
from services.kernel.period import Granularity, Period, day_start, zone
from services.usage.domain.event import Attributes, Costs, UsageEvent
from services.usage.domain.question import CostQuestion, previous_period, slice_period
from services.usage.service.recording import Recorder
from services.usage.store import rollups
from services.usage.store.costs import CostCell, cost_cells
from services.usage.store.tenants import make_tenant

MARCH = datetime(2026, 3, 1, tzinfo=UTC)


def used(number: int, *, at: datetime, amount: str, **attributes: object) -> UsageEvent:
    cost = Decimal(amount)
    what = Attributes("vm", "hour", "USD")._replace(**attributes)  # type: ignore[arg-type]
    return UsageEvent(
        "test", f"e{number}", at, at, what, Decimal(1), (), Costs(cost, cost, cost, cost)
    )


async def ask(database: Database, question: CostQuestion) -> list[CostCell]:
    async with database.read(question.tenant_id) as tx:
        return await cost_cells(tx, question, question.group_by, limit=10_000)


async def merge(database: Database, tenant: str) -> int:
    async with database.system_transaction() as tx:
        return await rollups.roll_up(tx, tenant)


def by_key(cells: list[CostCell]) -> dict[tuple[str, ...], Decimal]:
    return {cell.keys: cell.cost for cell in cells}


async def test_answers_are_the_same_before_during_and_after_a_merge(
    recorder: Recorder, usage_database: Database, tenant: str
) -> None:
    question = CostQuestion(
        tenant, Period(MARCH, MARCH + timedelta(days=31)), zone("UTC"), ("project",)
    )
    first = [
        used(n, at=MARCH + timedelta(hours=n), amount="0.1", project=f"p{n % 3}") for n in range(90)
    ]
    second = [
        used(n, at=MARCH + timedelta(hours=n % 90), amount="0.01", project=f"p{n % 3}")
        for n in range(90, 180)
    ]

    await recorder.record(tenant, first)
    before = by_key(await ask(usage_database, question))
    merged = await merge(usage_database, tenant)
    after = by_key(await ask(usage_database, question))
    await recorder.record(tenant, second)
    mixed = by_key(await ask(usage_database, question))
    await merge(usage_database, tenant)
    again = await merge(usage_database, tenant)

    assert merged == 90
    assert before == after == {(f"p{n}",): Decimal(3) for n in range(3)}
    assert mixed == {(f"p{n}",): Decimal("3.3") for n in range(3)}
    assert by_key(await ask(usage_database, question)) == mixed
    assert again == 0


async def test_edges_below_an_hour_are_exact(
    recorder: Recorder, usage_database: Database, tenant: str
) -> None:
    events = [used(n, at=MARCH + timedelta(minutes=n), amount="1") for n in range(240)]
    await recorder.record(tenant, events)
    await merge(usage_database, tenant)

    for start, end in ((0, 240), (1, 239), (30, 90), (59, 61), (10, 20), (60, 120), (90, 95)):
        period = Period(MARCH + timedelta(minutes=start), MARCH + timedelta(minutes=end))
        cells = await ask(usage_database, CostQuestion(tenant, period, zone("UTC")))

        minutes = end - start
        assert [(cell.cost, cell.events) for cell in cells] == [(Decimal(minutes), minutes)]


@pytest.mark.parametrize("name", ["Asia/Kolkata", "Australia/Lord_Howe", "America/New_York"])
async def test_days_are_the_tenants_own(
    recorder: Recorder, usage_database: Database, tenant: str, name: str
) -> None:
    tz = zone(name)
    async with usage_database.transaction(tenant) as tx:
        await make_tenant(tx, tenant)
        await tx.driver.execute("UPDATE usage.tenant SET time_zone = $1", name)
    events = [
        used(n, at=datetime(2026, 3, 30, tzinfo=UTC) + timedelta(minutes=17 * n), amount="1")
        for n in range(900)
    ]
    await recorder.record(tenant, events)
    await merge(usage_database, tenant)
    expected: dict[date, int] = {}
    for event in events:
        day = event.start_at.astimezone(tz).date()
        expected[day] = expected.get(day, 0) + 1
    period = Period(datetime(2026, 3, 1, tzinfo=UTC), datetime(2026, 5, 1, tzinfo=UTC))

    cells = await ask(usage_database, CostQuestion(tenant, period, tz, granularity=Granularity.DAY))

    assert {cell.bucket: cell.events for cell in cells} == expected


async def test_groups_by_tag_and_filters(
    recorder: Recorder, usage_database: Database, tenant: str
) -> None:
    await recorder.record(
        tenant,
        [
            used(1, at=MARCH, amount="1", tags=(("env", "prod"),), region="eu"),
            used(2, at=MARCH, amount="2", tags=(("env", "test"),), region="eu"),
            used(3, at=MARCH, amount="4", region="us"),
        ],
    )
    period = Period(MARCH, MARCH + timedelta(days=1))

    by_tag = await ask(usage_database, CostQuestion(tenant, period, zone("UTC"), ("tag:env",)))
    in_eu = await ask(
        usage_database,
        CostQuestion(tenant, period, zone("UTC"), (), filter='region = "eu" AND tags.env = "prod"'),
    )

    assert by_key(by_tag) == {("prod",): 1, ("test",): 2, ("",): 4}
    assert by_key(in_eu) == {(): 1}


async def test_a_managers_line_is_the_sum_of_its_people(
    recorder: Recorder, usage_database: Database, tenant: str
) -> None:
    async with usage_database.transaction(tenant) as tx:
        await tx.driver.executemany(
            "INSERT INTO usage.directory_user (tenant_id, user_id, display_name, department_id,"
            " manager_id) VALUES ($1, $2, $2, $3, $4)",
            [
                (tenant, "root", "board", ""),
                (tenant, "ada", "eng", "root"),
                (tenant, "bob", "eng", "ada"),
                (tenant, "cyd", "ops", "root"),
            ],
        )
    await recorder.record(
        tenant,
        [
            used(n, at=MARCH, amount=str(2**n), user_id=user)
            for n, user in enumerate(["root", "ada", "bob", "cyd"])
        ],
    )
    period = Period(MARCH, MARCH + timedelta(days=1))

    lines = await ask(usage_database, CostQuestion(tenant, period, zone("UTC"), ("manager",)))
    departments = await ask(
        usage_database, CostQuestion(tenant, period, zone("UTC"), ("department",))
    )
    below = await ask(
        usage_database, CostQuestion(tenant, period, zone("UTC"), (), filter='user:"ada"')
    )

    # Ada's line is Ada and Bob; root's is everybody; groups of managers overlap.
    assert by_key(lines) == {("root",): 15, ("ada",): 6}
    assert by_key(departments) == {("board",): 1, ("eng",): 6, ("ops",): 8}
    assert by_key(below) == {(): 6}


@given(
    start=st.datetimes(datetime(2025, 1, 1), datetime(2026, 12, 31)),  # noqa: DTZ001 - Hypothesis wants naive bounds
    length=st.timedeltas(timedelta(microseconds=1), timedelta(days=100)),
    name=st.sampled_from(["UTC", "Asia/Kathmandu", "Australia/Lord_Howe", "America/New_York"]),
    use_days=st.booleans(),
)
@settings(max_examples=300, deadline=None)
def test_slices_are_exactly_the_period(
    start: datetime, length: timedelta, name: str, *, use_days: bool
) -> None:
    tz = zone(name)
    begin = start.replace(tzinfo=UTC)
    slices = slice_period(Period(begin, begin + length), tz, use_days=use_days)

    total = sum((part.duration for part in (*slices.raw, *slices.hours)), timedelta())
    if slices.days is not None:
        total += day_start(slices.days[1], tz) - day_start(slices.days[0], tz)
    assert total == length


def test_the_period_before_whole_months_is_as_many_months() -> None:
    tz = zone("Europe/Berlin")
    march = Period(datetime(2026, 2, 28, 23, tzinfo=UTC), datetime(2026, 3, 31, 22, tzinfo=UTC))

    assert previous_period(march, tz).start == datetime(2026, 1, 31, 23, tzinfo=UTC)


def test_the_period_before_whole_days_is_as_many_days() -> None:
    tz = zone("America/New_York")
    week = Period(datetime(2026, 3, 8, 5, tzinfo=UTC), datetime(2026, 3, 15, 4, tzinfo=UTC))

    assert previous_period(week, tz).start == datetime(2026, 3, 1, 5, tzinfo=UTC)
