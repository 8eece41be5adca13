"""Blocks of work in the SDK: authorized, run, then settled or released."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from finops.budget.v1.spend_model_pb2 import SpendSubject
from finops.common.v1.money_pb2 import Money
from finops_sdk import ApiError, AsyncClient, AsyncSpend, Client, Spend

import cli.spend
from cli.connection import Connection
from cli.output import Format
from tests.budget.conftest import Caller
from tests.budget.test_spend import authorize, make_budget
from tests.support.server import LocalServer, token_of

SUBJECT = SpendSubject(resource_type="llm", resource_id="model-a")
ONE = Money(currency_code="USD", amount="1")


@pytest.fixture
async def client(caller: Caller, server: LocalServer) -> AsyncIterator[AsyncClient]:
    token = token_of("org_admin", tenant=caller.tenant_id)
    async with AsyncClient(server.target, token) as opened:
        yield opened


async def totals(caller: Caller) -> tuple[str, str]:
    """Returns (spent, held) of the only budget."""
    trial = await authorize(caller, "0", validate_only=True)
    (check,) = trial.decision.checks
    return check.spent.amount, check.held.amount


async def test_a_block_settles_the_cost_it_reports(caller: Caller, client: AsyncClient) -> None:
    await make_budget(caller, "10")

    async with client.spend(SUBJECT, amount=ONE) as spend:
        during = await totals(caller)
        spend.cost("0.0042")

    assert during == ("0", "1")
    assert await totals(caller) == ("0.0042", "0")
    assert spend.tags == {"finops_authorization_id": spend.authorization.authorization_id}


async def test_a_block_that_fails_gives_its_hold_back(caller: Caller, client: AsyncClient) -> None:
    await make_budget(caller, "10")

    with pytest.raises(ValueError, match="broken"):
        async with client.spend(SUBJECT, amount=ONE):
            raise ValueError("broken")

    assert await totals(caller) == ("0", "0")


async def test_a_block_that_is_cut_after_its_cost_was_known_still_settles(
    caller: Caller, client: AsyncClient
) -> None:
    """BerriAI/litellm#14457, #13245, #33736, #37558: a cut stream lost what the provider billed."""
    await make_budget(caller, "10")
    begun = asyncio.Event()

    async def work() -> None:
        async with client.spend(SUBJECT, amount=ONE) as spend:
            spend.cost("0.5")
            begun.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(work())
    await begun.wait()
    task.cancel()
    await asyncio.wait([task])

    assert task.cancelled()
    assert await totals(caller) == ("0.5", "0")


async def test_a_block_that_no_budget_admits_does_not_begin(
    caller: Caller, client: AsyncClient
) -> None:
    budget_id = await make_budget(caller, "0.5")
    calls = []

    @client.spend(SUBJECT, amount=ONE)
    async def work() -> None:
        calls.append(1)

    with pytest.raises(ApiError) as refused:
        await work()

    assert calls == []
    assert refused.value.reason == "SPEND_LIMIT_REACHED"
    assert refused.value.violations[0][0] == f"budget:{budget_id}"
    assert refused.value.retry_after is not None


async def test_every_call_of_a_decorated_function_is_a_block(
    caller: Caller, client: AsyncClient
) -> None:
    await make_budget(caller, "10")

    @client.spend(SUBJECT, amount=ONE)
    async def work(cost: str, *, spend: AsyncSpend | None = None) -> str:
        assert spend is not None
        spend.cost(cost)
        return cost

    assert [await work("0.1"), await work("0.2")] == ["0.1", "0.2"]
    assert await totals(caller) == ("0.3", "0")


async def test_code_without_asyncio_has_the_same_blocks(
    caller: Caller, server: LocalServer
) -> None:
    await make_budget(caller, "10")
    token = token_of("org_admin", tenant=caller.tenant_id)

    def run() -> None:
        with Client(server.target, token) as blocking:
            with blocking.spend(SUBJECT, amount=ONE) as spend:
                spend.cost("0.25")

            @blocking.spend(SUBJECT, amount=ONE)
            def work(spend: Spend | None = None) -> None:
                assert spend is not None
                spend.cost("0.5")

            work()

    await asyncio.to_thread(run)

    assert await totals(caller) == ("0.75", "0")


async def test_the_command_line_authorizes_settles_releases_and_explains(
    caller: Caller,
    server: LocalServer,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    await make_budget(caller, "10")
    token = token_of("org_admin", tenant=caller.tenant_id)

    def opened(*_: object) -> Connection:
        return Connection(Client(server.target, token), "")

    monkeypatch.setattr(cli.spend, "open_connection", opened)

    def run() -> None:
        here = {"data_dir": Path(), "form": Format.TABLE}
        cli.spend.authorize(resource_type="llm", amount="1.50", **here)  # type: ignore[arg-type]
        cli.spend.authorize(resource_type="llm", amount="2 USD", **here)  # type: ignore[arg-type]

    await asyncio.to_thread(run)
    lines = capsys.readouterr().out.splitlines()
    first, second = (line.partition(":")[0] for line in lines if line.endswith("held, allowed"))

    def finish() -> None:
        cli.spend.settle(first, "1.75 usd")
        cli.spend.release(second, reason="cancelled")
        cli.spend.explain(first)
        cli.spend.explain(first, form=Format.CSV)

    await asyncio.to_thread(finish)

    shown = capsys.readouterr().out
    assert "settled 1.75 USD, excess 0.25 USD" in shown
    assert f"{second}: released, allowed" in shown
    assert shown.count("Allowed: the amount fits every covering budget.") == 3
    header, row = shown.splitlines()[-2:]
    assert header.startswith("authorization_id,budget,enforcement,limit")
    assert row.startswith(f"{first},Research,hard,10,")
    assert await totals(caller) == ("1.75", "0")
