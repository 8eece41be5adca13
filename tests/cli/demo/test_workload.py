"""The demo's events are valid, the same every time, and show what the suite is for."""

from __future__ import annotations

from collections import Counter
from datetime import date, timedelta

import pytest
from finops.usage.v1.usage_model_pb2 import OUTCOME_FAILED, UsageEvent

from cli.demo import company
from cli.demo.workload import DAYS, events
from services.kernel.validation import violations_of

TODAY = date(2026, 11, 24)


@pytest.fixture(scope="module")
def year() -> list[UsageEvent]:
    return list(events(TODAY))


def local_day(event: UsageEvent) -> date:
    return event.start_time.ToDatetime(tzinfo=company.ZONE).date()


def test_ids_are_unique_and_every_rule_of_the_contract_holds(year: list[UsageEvent]) -> None:
    assert len({event.event_id for event in year}) == len(year)
    assert [violations_of(event) for event in year[::97] if violations_of(event)] == []


def test_a_later_run_repeats_the_days_that_were_loaded(year: list[UsageEvent]) -> None:
    kept = {
        event.event_id: event.SerializeToString(deterministic=True)
        for event in events(TODAY + timedelta(days=1))
        if event.resource_type == "vm"
    }
    before = {
        event.event_id: event.SerializeToString(deterministic=True)
        for event in year
        if event.resource_type == "vm" and local_day(event) > TODAY - timedelta(days=DAYS - 1)
    }

    assert before.items() <= kept.items()


def test_every_day_of_the_year_has_usage_and_none_lies_in_the_future(
    year: list[UsageEvent],
) -> None:
    days = {local_day(event) for event in year}

    assert len(days) == DAYS
    assert max(days) == TODAY - timedelta(days=1)


def test_a_machine_has_as_many_hours_as_the_day(year: list[UsageEvent]) -> None:
    hours = Counter(local_day(event) for event in year if event.resource_id == "web-1")

    assert hours[date(2026, 3, 29)] == 23
    assert hours[date(2026, 10, 25)] == 25
    assert hours[date(2026, 6, 1)] == 24


def test_the_runaway_agent_stands_out(year: list[UsageEvent]) -> None:
    runs = Counter(local_day(event) for event in year if event.user_id == "omar.farouk")
    week = [TODAY - timedelta(days=ago) for ago in company.ANOMALY_DAYS_AGO]
    usual = sorted(runs.values())[len(runs) // 2]

    assert len(week) == 7
    assert min(runs[day] for day in week) > 10 * usual


def test_the_company_is_as_large_as_it_says(year: list[UsageEvent]) -> None:
    assert len(company.DEPARTMENTS) == 10
    assert len(company.USERS) == len({user for user, _, _ in company.USERS}) == 60
    assert 60_000 <= len(year) <= 110_000


def test_failures_say_why_and_machines_idle_at_night(year: list[UsageEvent]) -> None:
    failed = [event for event in year if event.outcome == OUTCOME_FAILED]
    night = [
        event.utilization
        for event in year
        if event.resource_id == "dev-1" and event.start_time.ToDatetime().hour == 2
    ]

    runs = [event for event in year if event.resource_type == "llm"]
    assert 0.02 < len(failed) / len(runs) < 0.1
    assert all(event.error_code and event.retries for event in failed)
    assert max(night) < 0.05


def test_people_and_prices_are_complete() -> None:
    departments = {department.department_id for department in company.departments()}
    users = [user.user_id for user in company.users()]
    priced = {price.resource_id for price in company.prices(TODAY)}

    for position, user in enumerate(company.users()):
        assert user.department_id in departments
        assert not user.manager_id or user.manager_id in users[:position]
    assert {"atlas-large", "atlas-small", "kestrel-code"} <= priced
    messages = [
        *(company.departments() + company.users() + company.prices(TODAY)),
        *(company.TENANT_RECORD, company.peak_schedule(), company.allocation_rule()),
    ]
    assert [violations_of(message) for message in messages if violations_of(message)] == []
