"""Changes in columns: those that rows show, whole transactions, attributes told once a stream."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import aclosing
from datetime import timedelta
from decimal import Decimal

import pytest
from finops.usage.v1 import cost_block_model_pb2 as model

from services.kernel.database import Database
from services.kernel.feed_page import START, FeedPosition
from services.kernel.money import format_decimal
from services.usage.convert.following import from_following
from services.usage.domain.event import Attributes, Costs, UsageEvent
from services.usage.service import following
from services.usage.service.amending import Amendment, Amendments
from services.usage.service.following import CostFollowing, Following
from services.usage.service.recording import Recorder
from services.usage.service.tenant_context import TenantContexts
from services.usage.service.watching import CostFeed
from tests.usage.test_events import NOON, caller, used

__all__ = ["caller"]
LIMIT = 10


def by(number: int, user_id: str, department: str = "research") -> UsageEvent:
    what = Attributes("vm", "hour", "USD", user_id=user_id, department=department)
    return used(number)._replace(attributes=what)


async def follow(
    database: Database, tenant: str, *, after: str = "", changes: int, limit: int = LIMIT
) -> list[Following]:
    """Returns what a stream yields until it has shown so many changes."""
    found: list[Following] = []
    pages = CostFollowing(database).watch_cost_blocks(tenant, after=after, limit=limit)
    async with aclosing(pages) as answers:  # type: ignore[type-var]
        async for answer in answers:
            found.append(answer)
            if sum(map(shown, found)) >= changes:
                break
    return found


def shown(answer: Following) -> int:
    return sum(len(item.fact.numbers) for item in answer.page.blocks)


def messages(found: Sequence[Following]) -> list[model.WatchCostBlocksResponse]:
    return [message for each in found for message in from_following(each)]


async def test_columns_show_every_change_that_rows_show(
    recorder: Recorder, contexts: TenantContexts, usage_database: Database, tenant: str
) -> None:
    costly = used(9)._replace(cost=Costs(Decimal("2.50"), Decimal(1), Decimal(3), Decimal("2.5")))
    await recorder.record(tenant, [used(1), by(2, "bob"), costly])
    await recorder.record(tenant, [used(3, "4", NOON + timedelta(hours=2))])
    await Amendments(usage_database, contexts).amend_usage(
        Amendment(tenant_id=tenant, source="test", event_id="e1", reason="wrong", replacement=None)
    )

    async with usage_database.read(tenant) as tx:
        rows = (await CostFeed(usage_database).read(tx, after=START, limit=100)).items
    answers = await follow(usage_database, tenant, changes=len(rows))

    blocks = [block for message in messages(answers) for block in message.blocks]
    columns = [
        (
            FeedPosition(block.transaction_id, number),
            block.hours[place],
            block.dimension_ids[place],
            block.billed_costs[place],
            (list(block.effective_costs) or [""] * 9)[place] or block.billed_costs[place],
            (list(block.list_costs) or [""] * 9)[place] or block.billed_costs[place],
            (list(block.contracted_costs) or [""] * 9)[place] or block.billed_costs[place],
            block.quantities[place],
            block.events[place],
            (list(block.corrections) or [False] * 9)[place],
        )
        for block in blocks
        for place, number in enumerate(block.numbers)
    ]
    assert columns == [
        (
            item.position,
            int(item.fact.hour_at.timestamp()),
            item.fact.dimension_id,
            format_decimal(item.fact.billed_cost),
            format_decimal(item.fact.effective_cost),
            format_decimal(item.fact.list_cost),
            format_decimal(item.fact.contracted_cost),
            format_decimal(item.fact.quantity),
            item.fact.events,
            item.fact.is_correction,
        )
        for item in rows
    ]
    assert any(item.fact.is_correction for item in rows)
    assert any(item.fact.effective_cost != item.fact.billed_cost for item in rows)


async def test_a_page_ends_with_the_transaction_at_hand(
    recorder: Recorder, usage_database: Database, tenant: str
) -> None:
    for batch in range(3):
        await recorder.record(tenant, [by(10 * batch + n, f"user-{n}") for n in range(4)])

    answers = await follow(usage_database, tenant, changes=12, limit=5)
    rest = await follow(
        usage_database, tenant, after=str(answers[0].page.position), changes=4, limit=5
    )

    assert [[len(item.fact.numbers) for item in each.page.blocks] for each in answers] == [
        [4, 4],
        [4],
    ]
    assert [shown(each) for each in rest] == [4]


async def test_a_stream_that_begins_within_a_transaction_shows_the_rest_of_it(
    recorder: Recorder, usage_database: Database, tenant: str
) -> None:
    await recorder.record(tenant, [by(n, f"user-{n}") for n in range(4)])
    (whole,) = await follow(usage_database, tenant, changes=4)
    (block,) = whole.page.blocks
    within = FeedPosition(block.position.transaction_id, block.fact.numbers[1])

    (rest,) = await follow(usage_database, tenant, after=str(within), changes=2)

    assert block.is_divided_by(within)
    assert list(rest.page.blocks[0].fact.numbers) == list(block.fact.numbers[2:])


async def test_a_dimension_is_told_once_and_again_when_it_changes(
    recorder: Recorder,
    usage_database: Database,
    tenant: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(following, "FRESH_SECONDS", 0.0)
    pages = CostFollowing(usage_database).watch_cost_blocks(tenant, after="", limit=LIMIT)
    told = []
    async with aclosing(pages) as answers:  # type: ignore[type-var]
        for number, department in enumerate(("", "", "sales", "sales")):
            async with usage_database.transaction(tenant) as tx:
                await tx.driver.execute(
                    """
                    INSERT INTO usage.directory_user (tenant_id, user_id, display_name,
                        department_id) VALUES ($1, 'ada', 'Ada', $2)
                    ON CONFLICT (tenant_id, user_id) DO UPDATE SET department_id = $2
                    """,
                    tenant,
                    department,
                )
            await recorder.record(tenant, [by(number, "ada", department="")])
            answer = await anext(answers)
            while not answer.page.blocks:
                answer = await anext(answers)
            told.append([each.department for each in answer.told.get(tenant, {}).values()])

    assert told == [[""], [], ["sales"], []]


async def test_an_erasure_is_told_to_streams_that_knew_the_person(
    recorder: Recorder,
    usage_database: Database,
    tenant: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(following, "FRESH_SECONDS", 0.0)
    pages = CostFollowing(usage_database).watch_cost_blocks(tenant, after="", limit=LIMIT)
    told = []
    async with aclosing(pages) as answers:  # type: ignore[type-var]
        for number in range(2):
            await recorder.record(tenant, [by(number, "ada")])
            answer = await anext(answers)
            while not answer.page.blocks:
                answer = await anext(answers)
            told.append([each.user_id for each in answer.told.get(tenant, {}).values()])
            async with usage_database.transaction(tenant) as tx:
                await tx.driver.execute(
                    """
                    INSERT INTO usage.erased_user VALUES ($1, 'digest', 'nobody')
                    ON CONFLICT (tenant_id, digest) DO UPDATE SET pseudonym = EXCLUDED.pseudonym
                    """,
                    tenant,
                )
                await tx.driver.execute("UPDATE usage.dimension SET user_id = 'nobody'")

    assert told == [["ada"], ["nobody"]]


async def test_a_stream_that_told_too_much_forgets_and_tells_again(
    recorder: Recorder,
    usage_database: Database,
    tenant: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(following, "DIMENSIONS_KEPT", 3)
    await recorder.record(tenant, [by(1, "ada"), by(2, "bob")])
    await recorder.record(tenant, [by(3, "ada"), by(4, "eve"), by(5, "joe")])

    answers = await follow(usage_database, tenant, changes=5, limit=1)

    assert [each.is_forgetting for each in answers] == [False, True]
    assert [{one.user_id for one in each.told[tenant].values()} for each in answers] == [
        {"ada", "bob"},
        {"ada", "eve", "joe"},
    ]
    assert messages(answers)[2].forgets_dimensions
