"""`finops recommendations` against a running optimizer."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path

import pytest

from cli.main import run
from tests.optimizer.conftest import Desk
from tests.optimizer.making import CATALOGUE, FACTORS, START, machine_hours
from tests.support.server import token_of


async def test_a_person_finds_decides_and_follows_savings_at_the_terminal(
    desk: Desk, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    await desk.record(list(machine_hours("idle", lambda _: 0.002, start=START, days=59)))
    monkeypatch.setenv("FINOPS_URL", f"grpc://{desk.stage.optimizer.target}")
    monkeypatch.setenv("FINOPS_TOKEN", token_of("org_admin", tenant=desk.tenant))
    sizes, factors = tmp_path / "sizes.csv", tmp_path / "factors.csv"
    sizes.write_bytes(CATALOGUE)
    factors.write_bytes(FACTORS)

    async def finops(*arguments: str, code: int = 0) -> str:
        capsys.readouterr()
        assert await asyncio.to_thread(run, ["recommendations", *arguments]) == code
        shown = capsys.readouterr()
        return shown.out + shown.err

    assert re.search(r"types +4", await finops("load-catalogue", "acme", str(sizes)))
    assert re.search(r"rows +2", await finops("load-factors", str(factors)))
    assert "1 found, 0 refreshed" in await finops("generate")
    listed = json.loads((await finops("list", "--format", "json")).partition("\nTogether")[0])
    name = listed[0]["recommendationId"]
    assert "292.20 USD" in await finops("list")
    shown = await finops("show", name)
    assert "Stop idle: nobody uses it" in shown
    assert "roll back 1" in shown
    assert "accepted" in await finops("accept", name, "--owner", "ada", "--note", "at once")
    assert "saved 873.60 USD" in await finops("simulate", "--days", "91")
    assert "total" in await finops("savings", "--group-by", "kind")
    assert "completed" in await finops("complete", name, "--at", "2026-02-20T12:00:00Z")
    assert "refuted" in await finops("verify", name)
    assert "there is no reason 'dull'" in await finops("dismiss", name, "--reason", "dull", code=2)
