"""Stored events: corrections, the change feed, reconciliation, archives and imports."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from services.kernel.caller import Caller, acting_as
from services.kernel.clock import ManualClock
from services.kernel.database import Database
from services.kernel.feed_page import FeedPosition
from services.kernel.jobs import Job
from services.kernel.pagination import PageRequest, PageTokens
from services.usage.domain.event import Attributes, Costs, UsageEvent
from services.usage.domain.import_file import (
    ImportEnded,
    ImportOffset,
    ImportSize,
    ImportState,
)
from services.usage.domain.stored_event import EventVoided
from services.usage.errors import ImportNotFound, ReplacementMismatch, UsageEventNotFound
from services.usage.service.amending import Amendment, Amendments
from services.usage.service.archiving import Archive
from services.usage.service.events import StoredEvents
from services.usage.service.importing import ImportPart, Imports
from services.usage.service.reconciling import Reconciler
from services.usage.service.recording import Recorder
from services.usage.service.tenant_context import TenantContexts
from services.usage.service.watching import CostFeed, CostWatch
from services.usage.store import rollups

NOON = datetime(2026, 3, 10, 12, tzinfo=UTC)
TOKENS = PageTokens(b"a secret that only these tests use")
WHAT = Attributes("vm", "hour", "USD", user_id="ada", department="research")


@pytest.fixture(autouse=True)
def caller(tenant: str) -> Iterator[None]:
    """Somebody who may do everything in the tenant."""
    who = Caller(
        tenant_id=tenant,
        subject="ada",
        roles=frozenset({"org_admin"}),
        permissions=frozenset({"*"}),
        credential_id="test",
    )
    with acting_as(who):
        yield


def used(number: int, amount: str = "2", at: datetime = NOON) -> UsageEvent:
    cost = Decimal(amount)
    costs = Costs(cost, cost, cost, cost)
    start = at + timedelta(minutes=number)
    return UsageEvent("test", f"e{number}", start, start, WHAT, Decimal(1), (), costs)


async def totals(database: Database, tenant: str, table: str) -> tuple[int, Decimal]:
    count = "weight" if table == "event" else "events"
    async with database.read(tenant) as tx:
        row = await tx.driver.fetchrow(
            f"SELECT COALESCE(sum({count}), 0), COALESCE(sum(billed_cost), 0) FROM usage.{table}"
        )
    assert row is not None
    return int(row[0]), row[1]


async def merge(database: Database, tenant: str) -> None:
    async with database.system_transaction() as tx:
        await rollups.roll_up(tx, tenant)


async def test_a_replacement_adds_a_reversal_and_a_revision(
    recorder: Recorder, contexts: TenantContexts, usage_database: Database, tenant: str
) -> None:
    """BerriAI/litellm#31835, langfuse/langfuse-docs#2018: past cost is repriced in sight of all."""
    await recorder.record(tenant, [used(1), used(2)])
    amendments = Amendments(usage_database, contexts)
    events = StoredEvents(usage_database, contexts, tokens=TOKENS, clock=ManualClock(NOON))

    amended = await amendments.amend_usage(
        Amendment(
            tenant_id=tenant,
            source="test",
            event_id="e1",
            reason="wrong meter",
            replacement=used(1, "5"),
        )
    )

    assert (amended.revision, amended.costs.billed) == (2, Decimal(5))
    assert await totals(usage_database, tenant, "event") == (2, Decimal(7))
    assert await totals(usage_database, tenant, "cost_change") == (2, Decimal(7))
    detail = await events.get_usage_event(tenant, "test", "e1")
    assert [(row.weight, row.costs.billed) for row in detail.history] == [
        (1, Decimal(2)),
        (-1, Decimal(-2)),
        (1, Decimal(5)),
    ]
    page = PageRequest(tenant, "List", filter='user = "ada"')
    listed = await events.list_usage_events(page, start="2026-03-01", end="2026-04-01")
    assert [(item.event.event_id, item.costs.billed) for item in listed.items] == [
        ("e2", Decimal(2)),
        ("e1", Decimal(5)),
    ]


async def test_a_voided_event_costs_nothing_and_stays_void(
    recorder: Recorder, contexts: TenantContexts, usage_database: Database, tenant: str
) -> None:
    await recorder.record(tenant, [used(1), used(2)])
    amendments = Amendments(usage_database, contexts)
    void = Amendment(tenant_id=tenant, source="test", event_id="e1", reason="test traffic")

    voided = await amendments.amend_usage(void)
    again = await recorder.record(tenant, [used(1)])

    assert voided.is_voided
    assert again.verdicts == [2]
    assert await totals(usage_database, tenant, "cost_change") == (1, Decimal(2))
    with pytest.raises(EventVoided) as refused:
        await amendments.amend_usage(void)
    assert refused.value.reason == "EVENT_VOIDED"
    assert refused.value.metadata == {"source": "test", "event_id": "e1"}


async def test_unknown_events_and_other_ids_are_refused(
    contexts: TenantContexts, usage_database: Database, tenant: str
) -> None:
    amendments = Amendments(usage_database, contexts)
    unknown = Amendment(tenant_id=tenant, source="test", event_id="nobody", reason="x")
    other = Amendment(
        tenant_id=tenant, source="test", event_id="e1", reason="x", replacement=used(2)
    )

    with pytest.raises(UsageEventNotFound) as missing:
        await amendments.amend_usage(unknown)
    with pytest.raises(ReplacementMismatch) as mismatch:
        await amendments.amend_usage(other)

    assert missing.value.reason == "USAGE_EVENT_NOT_FOUND"
    assert mismatch.value.reason == "REPLACEMENT_MISMATCH"


async def test_the_feed_hands_out_each_change_once_with_its_dimension(
    recorder: Recorder, usage_database: Database, tenant: str
) -> None:
    watch = CostWatch(usage_database, CostFeed(usage_database))
    await recorder.record(tenant, [used(1), used(2)])

    pages = watch.watch_costs(tenant, after="", limit=10)
    first = await anext(pages)
    await recorder.record(tenant, [used(3, "4", NOON + timedelta(hours=2))])
    second = await anext(pages)
    resumed = watch.watch_costs(tenant, after=str(first.position), limit=10)
    again = await anext(resumed)

    assert [(item.fact.events, item.fact.billed_cost) for item, _ in first.items] == [
        (2, Decimal(4))
    ]
    assert first.items[0][1].department == "research"
    assert [item.fact.billed_cost for item, _ in second.items] == [Decimal(4)]
    assert [item.position for item, _ in again.items] == [item.position for item, _ in second.items]
    assert FeedPosition.parse(str(second.position)) > first.position


async def test_drift_is_found_and_mended(
    recorder: Recorder, contexts: TenantContexts, usage_database: Database, tenant: str
) -> None:
    reconciler = Reconciler(usage_database, contexts)
    await recorder.record(tenant, [used(n) for n in range(20)])
    await merge(usage_database, tenant)
    await recorder.record(tenant, [used(n) for n in range(20, 25)])
    clean = await reconciler.reconcile_usage(tenant)
    async with usage_database.transaction(tenant) as tx:
        await tx.driver.execute("UPDATE usage.rollup_day SET billed_cost = billed_cost + 1")
        await tx.driver.execute("DELETE FROM usage.rollup_hour")

    broken = await reconciler.reconcile_usage(tenant, repair=True)
    mended = await reconciler.reconcile_usage(tenant)
    await merge(usage_database, tenant)
    merged = await reconciler.reconcile_usage(tenant)

    assert (list(clean.drifts), clean.raw_events, clean.rolled_up_events, clean.feed_events) == (
        [],
        25,
        25,
        25,
    )
    assert {drift.comparison.compared for drift in broken.drifts} == {"rollup_hour", "rollup_day"}
    assert broken.days_repaired == 1
    assert list(mended.drifts) == list(merged.drifts) == []


async def test_a_month_is_archived_whole_and_its_cost_stays(
    recorder: Recorder,
    contexts: TenantContexts,
    usage_database: Database,
    tenant: str,
    tmp_path: Path,
) -> None:
    month = datetime(1999, 5, 4, tzinfo=UTC)
    archive = Archive(
        usage_database,
        contexts,
        folder=tmp_path,
        retention_months=0,
        clock=ManualClock(NOON),
    )
    await recorder.record(tenant, [used(n, at=month) for n in range(30)])
    await merge(usage_database, tenant)

    planned = await archive.archive_usage(date(1999, 6, 1), is_dry_run=True)
    done = await archive.archive_usage(date(1999, 6, 1), is_dry_run=False)
    later = await recorder.record(tenant, [used(99, at=month)])

    assert [(one.month, one.events) for one in planned] == [(date(1999, 5, 1), 30)]
    assert [(one.month, one.events) for one in done] == [(date(1999, 5, 1), 30)]
    table = pq.read_table(tmp_path / done[0].file_path)
    assert sum(Decimal(cost) for cost in table["billed_cost"].to_pylist()) == Decimal(60)
    assert await totals(usage_database, tenant, "rollup_day") == (30, Decimal(60))
    assert later.verdicts == [1]


LINES = "\n".join(
    json.dumps(
        {
            "eventId": name,
            "source": "file",
            "startTime": "2026-03-10T12:00:00Z",
            "resourceType": "vm",
            "quantity": quantity,
            "unit": "hour",
            "cost": {"currencyCode": "USD", "billed": "1.5"},
        }
    )
    for name, quantity in (("a", "1"), ("b", "NaN"), ("c", "2"), ("a", "1"))
)


async def test_an_import_in_parts_stores_rows_and_names_the_refused(
    recorder: Recorder, usage_database: Database, tenant: str
) -> None:
    imports = Imports(usage_database, recorder, tokens=TOKENS, clock=ManualClock(NOON))
    content = LINES.encode()
    begun = await imports.import_usage(
        ImportPart(tenant_id=tenant, content=content[:100], total_bytes=len(content), kind="ndjson")
    )

    with pytest.raises(ImportOffset) as gap:
        await imports.import_usage(
            ImportPart(tenant_id=tenant, content=b"x", import_id=begun.import_id, offset=7)
        )
    whole = await imports.import_usage(
        ImportPart(tenant_id=tenant, content=content[100:], import_id=begun.import_id, offset=100)
    )
    job = Job(1, "import", whole.import_id.encode(), 1, tenant)
    await imports.run(job)
    await imports.run(job)
    ended = await imports.get_import(tenant, whole.import_id)
    refused = await imports.list_import_rejects(
        PageRequest(tenant, "List"), import_id=whole.import_id
    )

    assert gap.value.metadata["received_bytes"] == "100"
    assert gap.value.reason == "IMPORT_OFFSET"
    assert whole.state is ImportState.QUEUED
    assert (ended.state, ended.rows, ended.accepted, ended.duplicate, ended.invalid) == (
        ImportState.SUCCEEDED,
        4,
        2,
        1,
        1,
    )
    assert [(row.row_number, row.field) for row in refused.items] == [(2, "quantity")]
    assert await totals(usage_database, tenant, "event") == (2, Decimal(3))


async def test_imports_that_cannot_go_on_say_why(
    recorder: Recorder, usage_database: Database, tenant: str
) -> None:
    imports = Imports(usage_database, recorder, tokens=TOKENS, clock=ManualClock(NOON))
    begun = await imports.import_usage(
        ImportPart(tenant_id=tenant, content=b"a", total_bytes=9, kind="focus")
    )
    part = ImportPart(tenant_id=tenant, content=b"b", import_id=begun.import_id, offset=1)

    with pytest.raises(ImportSize) as empty:
        await imports.import_usage(ImportPart(tenant_id=tenant, content=b""))
    with pytest.raises(ImportNotFound) as unknown:
        await imports.get_import(tenant, "nobody")
    await imports.cancel_import(tenant, begun.import_id)
    with pytest.raises(ImportEnded) as ended:
        await imports.import_usage(part)

    assert empty.value.reason == "IMPORT_SIZE"
    assert unknown.value.reason == "IMPORT_NOT_FOUND"
    assert ended.value.reason == "IMPORT_ENDED"
    assert ended.value.metadata["state"] == "CANCELLED"


async def test_a_file_of_another_kind_fails_with_the_missing_columns(
    recorder: Recorder, usage_database: Database, tenant: str
) -> None:
    imports = Imports(usage_database, recorder, tokens=TOKENS, clock=ManualClock(NOON))
    item = await imports.import_usage(
        ImportPart(tenant_id=tenant, content=b"a,b\n1,2\n", kind="focus")
    )

    await imports.run(Job(1, "import", item.import_id.encode(), 1, tenant))

    failed = await imports.get_import(tenant, item.import_id)
    assert failed.state is ImportState.FAILED
    assert "BilledCost" in failed.failure
