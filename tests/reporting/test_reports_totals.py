"""Every number of a report is what the usage service says to its query, to the last digit."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qs, urlsplit

from finops.usage.v1 import cost_model_pb2, usage_model_pb2, usage_service_pb2
from google.protobuf.timestamp_pb2 import Timestamp

from services.kernel.ids import new_id
from services.kernel.money import add_exactly, parse_decimal
from services.kernel.period import Period, zone
from services.reporting.bootstrap import ReportingService
from services.reporting.domain.figures import COSTS_PATH, Figure
from services.reporting.domain.report.document import Section
from services.reporting.domain.report.frame import Frame
from services.reporting.domain.report.wording import Wording
from services.reporting.service import reports_chargeback as chargeback
from services.reporting.service import reports_executive as executive
from services.reporting.service import reports_operational as operational
from services.reporting.service import reports_sections as shared
from services.reporting.service import reports_units as units
from services.reporting.service import reports_variance as variance
from services.reporting.service.reports_sources import Sources
from tests.reporting.conftest import NOW, Caller

START = datetime(2026, 3, 1, tzinfo=UTC)
DEPARTMENTS = ("research", 'say "hi"', "a*b", "back\\slash", "")
SERVICES = ("inference", "storage", "")
TYPES = (("llm", "token"), ("vm", "hour"), ("disk", "gb"))
DIMENSIONS = ("department", "service", "resource_type", "user", "tag:env")
FILTERS = ("", 'service = "inference"', 'department != "research"', 'tags.env = "prod"')
OUTCOMES = (usage_model_pb2.OUTCOME_SUCCEEDED, usage_model_pb2.OUTCOME_FAILED)
# All that ask for costs alone.
SECTIONS = (
    *(executive.spending, operational.resources, chargeback.owed, chargeback.details),
    *(variance.why, variance.effects, units.summary, units.units, units.people, shared.basis),
)
QUESTIONS = 4


def events(draw: random.Random) -> Iterator[usage_model_pb2.UsageEvent]:
    for _ in range(250):
        stamp = Timestamp()
        stamp.FromDatetime(START + timedelta(minutes=draw.randrange(60 * 24 * 100)))
        resource_type, unit = draw.choice(TYPES)
        digits = draw.randrange(1, 10**22)
        yield usage_model_pb2.UsageEvent(
            event_id=new_id(),
            source="tests",
            start_time=stamp,
            resource_type=resource_type,
            quantity=str(draw.randrange(1, 1000)),
            unit=unit,
            department=draw.choice(DEPARTMENTS),
            service=draw.choice(SERVICES),
            user_id=draw.choice(("ada", "bob", "")),
            tags={"env": draw.choice(("prod", "test"))},
            outcome=draw.choice(
                (usage_model_pb2.OUTCOME_SUCCEEDED, usage_model_pb2.OUTCOME_FAILED)
            ),
            cost=usage_model_pb2.UsageCost(
                currency_code="USD", billed=f"{Decimal(digits).scaleb(-18):f}"
            ),
        )


def frame_of(draw: random.Random, tenant: str) -> Frame:
    start = START + timedelta(days=draw.randrange(60))
    end = start + timedelta(days=draw.randrange(1, 40))
    if draw.random() < 0.3:
        start, end = datetime(2026, 4, 1, tzinfo=UTC), datetime(2026, 5, 1, tzinfo=UTC)
    return Frame(
        tenant_id=tenant,
        period=Period(start, end),
        tz=zone("UTC"),
        currency_code="USD",
        digits=2,
        filter=draw.choice(FILTERS),
        group_by=tuple(draw.sample(DIMENSIONS, draw.randrange(3))),
        words=Wording("en"),
        now=NOW,
    )


class Answers:
    """What the usage service says to the queries of figures."""

    def __init__(self, caller: Caller) -> None:
        self._caller = caller
        self._known: dict[str, cost_model_pb2.QueryCostsResponse] = {}

    async def to(self, query: str) -> cost_model_pb2.QueryCostsResponse:
        if query not in self._known:
            given = parse_qs(urlsplit(query).query)
            groups = given.pop("group_by", [])
            plain: dict[str, Any] = {name: values[0] for name, values in given.items()}
            for name in ("compare_previous", "allocated"):
                plain[name] = name in plain
            request = cost_model_pb2.QueryCostsRequest(group_by=groups, page_size=1000, **plain)
            self._known[query] = await self._caller.usage.QueryCosts(request)
        return self._known[query]


async def test_every_amount_is_what_its_query_gives(
    caller: Caller, built: ReportingService, tenant: str
) -> None:
    draw = random.Random(20260615)
    request = usage_service_pb2.RecordUsageRequest(events=list(events(draw)))
    answer = await caller.usage.RecordUsage(request)
    assert set(answer.statuses) == {usage_model_pb2.RECORD_STATUS_ACCEPTED}
    answers = Answers(caller)
    checked = 0

    for _ in range(QUESTIONS):
        frame = frame_of(draw, tenant)
        sources = Sources(built.reporting.peers, frame)
        for part in SECTIONS:
            section = await part(sources)
            for figure in section.figures():
                checked += await is_given(figure, answers)
            check_sums(section)

    assert checked > 200


async def is_given(figure: Figure, answers: Answers) -> bool:
    """Asserts that the figure's query gives it; tells whether the figure is an amount.

    Prices and effects are computed from what their query gives, and are no part of it.
    """
    is_computed = "Cost of" in figure.label or any(
        name in figure.label for name in ("Volume", "Rate", "Mix", "What a unit cost", "To charge")
    )
    if not figure.query.startswith(COSTS_PATH) or figure.unit != "USD" or is_computed:
        return False
    answer = await answers.to(figure.query)
    total = answer.totals[0] if answer.totals else cost_model_pb2.CostTotal()
    now = parse_decimal(total.cost.amount or "0")
    before = parse_decimal(total.previous_cost.amount or "0")
    given = {now, before, now - before}
    if "group_by=" in figure.query or "granularity=" in figure.query:
        if "others" in figure.label or "Allocated" in figure.label:
            return False
        given |= {parse_decimal(row.cost.amount) for row in answer.rows}
        given |= {Decimal(0)}
    assert figure.value in given, figure
    return True


def check_sums(section: Section) -> None:
    """Asserts that the rows of tables of cost add up to their last row."""
    for table in section.tables:
        if table.total is None:
            continue
        for place, column in enumerate(table.columns):
            if column not in ("Cost", "Before", "Difference", "Volume", "Rate", "Mix", "Own cost"):
                continue
            values = [getattr(row[place], "value", None) for row in table.rows]
            amounts = [value for value in values if value is not None]
            whole = getattr(table.total[place], "value", None)
            if len(amounts) == len(table.rows) and "left out" not in table.note:
                assert add_exactly(amounts) == whole, (table.title, column)
