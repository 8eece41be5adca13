"""What the usage service refuses where nothing else is tested but the refusal."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import grpc
import pytest
from finops.usage.v1 import usage_model_pb2

from services.kernel.cache import Cache
from services.kernel.clock import ManualClock
from services.kernel.database import Database
from services.kernel.errors import Error
from services.kernel.exchange import ExchangeRates
from services.kernel.pagination import PageTokens
from services.kernel.period import Period, zone
from services.usage import errors
from services.usage.convert.usage import EVENTS_MAX, to_inbox
from services.usage.domain.event import Attributes, Costs, UsageEvent
from services.usage.domain.question import CostQuestion
from services.usage.service import costs
from services.usage.service.archiving import Archive
from services.usage.service.costs import CostQueries
from services.usage.service.recording import Recorder
from services.usage.service.tenant_context import TenantContexts
from services.usage.store import archive

CLOCK = ManualClock(datetime(2026, 3, 10, tzinfo=UTC))
MARCH = datetime(2026, 3, 1, tzinfo=UTC)
LONG_AGO = datetime(1998, 5, 4, tzinfo=UTC)  # a month of its own


def used(number: int, at: datetime = MARCH) -> UsageEvent:
    what = Attributes("vm", "hour", "USD", project=f"p{number}")
    one = Decimal(1)
    return UsageEvent("test", f"e{number}", at, at, what, one, (), Costs(one, one, one, one))


@pytest.mark.parametrize("count", [0, EVENTS_MAX + 1])
def test_a_batch_has_its_bounds(count: int) -> None:
    with pytest.raises(errors.BatchSize) as caught:
        to_inbox([usage_model_pb2.UsageEvent()] * count, "acme")

    assert caught.value.code is grpc.StatusCode.INVALID_ARGUMENT
    assert caught.value.reason == "BATCH_SIZE"
    assert caught.value.metadata == {"events": str(count), "events_max": str(EVENTS_MAX)}


async def test_an_answer_has_its_bound(
    recorder: Recorder,
    contexts: TenantContexts,
    usage_database: Database,
    tenant: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(costs, "CELLS_MAX", 2)
    queries = CostQueries(
        usage_database,
        Cache(None, service="usage"),
        tokens=PageTokens(b"a secret that only these tests use"),
        clock=CLOCK,
        rates=ExchangeRates(),
        contexts=contexts,
    )
    period = Period(MARCH, MARCH + timedelta(days=1))
    question = CostQuestion(tenant, period, zone("UTC"), ("project",))

    await recorder.record(tenant, [used(1), used(2)])
    most = await queries.answer(question)
    await recorder.record(tenant, [used(3)])
    with pytest.raises(errors.TooManyGroups) as caught:
        await queries.answer(question)

    assert len(most.groups) == 2
    assert caught.value.code is grpc.StatusCode.INVALID_ARGUMENT
    assert caught.value.reason == "TOO_MANY_GROUPS"
    assert caught.value.metadata == {"groups_max": "2"}


async def test_a_month_stays_until_its_archive_is_complete(
    recorder: Recorder,
    usage_database: Database,
    tenant: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    contexts = TenantContexts(usage_database)
    months = Archive(usage_database, contexts, folder=tmp_path, retention_months=0, clock=CLOCK)
    await recorder.record(tenant, [used(1, LONG_AGO), used(2, LONG_AGO)])

    async def one_more(*_: object) -> int:
        return 3

    with monkeypatch.context() as patched, pytest.raises(errors.ArchiveIncomplete) as caught:
        patched.setattr(archive, "count_events", one_more)
        await months.archive_usage(date(1998, 6, 1), is_dry_run=False)
    done = await months.archive_usage(date(1998, 6, 1), is_dry_run=False)

    assert caught.value.code is grpc.StatusCode.FAILED_PRECONDITION
    assert caught.value.reason == "ARCHIVE_INCOMPLETE"
    file_name = "usage-events-1998-05-20260310T000000.parquet"
    assert caught.value.metadata == {"month": "1998-05", "path": file_name}
    assert [(month.events, month.file_path) for month in done] == [(2, file_name)]


@pytest.mark.parametrize(
    ("error", "code", "reason", "metadata"),
    [
        (errors.BatchRaced(), grpc.StatusCode.ABORTED, "BATCH_RACED", {}),
        (
            errors.AllocationRuleNotFound(allocation_rule_id="r1"),
            grpc.StatusCode.NOT_FOUND,
            "ALLOCATION_RULE_NOT_FOUND",
            {"allocation_rule_id": "r1"},
        ),
        (
            errors.AllocationRuleExists(allocation_rule_id="r1"),
            grpc.StatusCode.ALREADY_EXISTS,
            "ALLOCATION_RULE_EXISTS",
            {"allocation_rule_id": "r1"},
        ),
    ],
)
def test_a_class_fixes_code_and_reason(
    error: Error, code: grpc.StatusCode, reason: str, metadata: Mapping[str, str]
) -> None:
    assert (error.code, error.reason, error.metadata) == (code, reason, metadata)
    assert error.message == (type(error).__doc__ or "").splitlines()[0]
