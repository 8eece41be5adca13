"""Which series a measurement looks at, once a change has given the usage other names."""

from __future__ import annotations

from finops.usage.v1.usage_model_pb2 import UsageCost, UsageEvent

from services.optimizer.store import scopes
from services.optimizer.store.statistics import load_subjects
from tests.optimizer.conftest import Desk
from tests.optimizer.making import START, instant


def tokens(name: str, unit: str, **tags: str) -> UsageEvent:
    return UsageEvent(
        event_id=f"{name}-{unit}-{'-'.join(tags.values())}",
        source="test",
        start_time=instant(START),
        resource_type="llm",
        resource_id=name,
        provider="acme",
        quantity="1000",
        unit=unit,
        cost=UsageCost(currency_code="USD", billed="1"),
        tags=tags,
    )


async def test_a_scope_grows_by_what_its_change_moves_usage_to(desk: Desk) -> None:
    await desk.record(
        [
            tokens("large", "repeated_input_token"),
            tokens("large", "cached_input_token"),
            tokens("other", "cached_input_token"),
            tokens("large", "token", complexity="low"),
            tokens("small", "token", complexity="low"),
            tokens("small", "token", complexity="high"),
        ]
    )
    async with desk.stage.database.read(desk.tenant) as tx:
        subjects = await load_subjects(tx, desk.tenant)
        ids = {
            (one.resource_id, one.unit, one.tag("complexity")): number
            for one, number in subjects.items()
        }
        repeated = ids["large", "repeated_input_token", ""]
        simple = ids["large", "token", "low"]

        alone = await scopes.series_of_scope(tx, desk.tenant, [simple])
        cached = await scopes.series_of_scope(
            tx, desk.tenant, [repeated], cached_unit="cached_input_token"
        )
        moved = await scopes.series_of_scope(tx, desk.tenant, [simple], substitute="small")
        whole = await scopes.series_of_scope(tx, desk.tenant, [simple], has_resources=True)

        versions = await scopes.series_of_scope(tx, desk.tenant, [simple], substitute="sm*")
        like = await scopes.series_of_scope(tx, desk.tenant, [simple], substitute="sm_ll")

    assert versions == moved
    assert set(like) == {simple}
    assert alone == {simple: "token"}
    assert cached == {
        repeated: "repeated_input_token",
        ids["large", "cached_input_token", ""]: "cached_input_token",
    }
    assert set(moved) == {simple, ids["small", "token", "low"]}
    assert set(whole) == {number for key, number in ids.items() if key[0] == "large"}
