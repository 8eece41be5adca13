"""The smaller commands, and how each finds its stack."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import jwt
import pytest
from finops.audit.v1 import audit_service_pb2
from finops.common.v1 import money_pb2
from finops.usage.v1 import (
    cost_model_pb2,
    pricing_model_pb2,
    pricing_service_pb2,
    usage_model_pb2,
    usage_service_pb2,
)

from cli.main import COMMANDS
from cli.stack import checks
from cli.stack.keys import load_or_make_keys
from cli.stack.state import read_state
from cli.tokens import parse_life
from tests.cli.conftest import AUDIT, PRICING, USAGE, Result, Suite

Finops = Callable[..., Result]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(finops: Finops, command: str) -> None:
    result = finops(command, "--help")

    assert result.code == 0
    assert "Usage: finops " + command in result.out


def test_a_stack_of_some_services_refuses_names_that_are_none(finops: Finops) -> None:
    result = finops("up", "--service", "usage", "--service", "nonsense")

    assert result.code == 2
    assert "nonsense is no service; there are usage, budget" in " ".join(result.err.split())


def test_a_token_is_printed_bare_and_says_who_and_what(finops: Finops, data_dir: Path) -> None:
    result = finops(
        *("token", "--tenant", "acme", "--role", "viewer", "--role", "analyst"),
        *("--subject", "ada", "--expires", "90m"),
    )

    secret = load_or_make_keys(data_dir).jwt_secret
    token = result.out.removesuffix("\n")
    claims = jwt.decode(token, secret, algorithms=["HS256"], audience="finops", issuer="finops")
    assert (claims["tenant"], claims["sub"]) == ("acme", "ada")
    assert claims["roles"] == ["viewer", "analyst"]
    assert claims["exp"] - claims["iat"] == 90 * 60


@pytest.mark.parametrize(
    "arguments",
    [
        ("--tenant", "acme", "--role", "king"),
        ("--tenant", "acme", "--role", "service"),
        ("--tenant", "acme", "--expires", "soon"),
        ("--tenant", "acme", "--expires", "9999d"),
        (),
    ],
)
def test_a_token_that_cannot_be_is_refused(finops: Finops, arguments: tuple[str, ...]) -> None:
    result = finops("token", *arguments)

    assert result.code == 2
    assert result.out == ""


def test_lives_are_read() -> None:
    assert [parse_life(text).total_seconds() for text in ("30s", "5m", "2h", "1d", "1w")] == [
        *(30, 300, 7200, 86400, 604800)
    ]


def test_without_a_running_stack_the_exit_code_is_3(finops: Finops, tmp_path: Path) -> None:
    result = finops("costs", "--tenant", "acme", "--data-dir", str(tmp_path / "nothing"))

    assert result.code == 3
    assert "finops up" in result.err


def test_a_suite_that_does_not_answer_is_exit_code_3(
    finops: Finops, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FINOPS_TOKEN", "token")

    result = finops("costs", "--url", "http://127.0.0.1:9")

    assert result.code == 3
    assert "does not answer" in result.err


def test_a_suite_elsewhere_needs_a_token(finops: Finops) -> None:
    result = finops("costs", "--url", "http://127.0.0.1:9")

    assert result.code == 4
    assert "FINOPS_TOKEN" in result.err


def test_a_grpc_address_elsewhere_is_spoken_to_with_the_token_given(
    finops: Finops, suite: Suite, data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    suite.answers[f"{USAGE}/QueryCosts"] = cost_model_pb2.QueryCostsResponse()
    monkeypatch.setenv("FINOPS_TOKEN", "given")
    monkeypatch.setenv("FINOPS_URL", f"grpc://{read_state(data_dir).targets['usage']}")

    assert finops("costs").code == 0

    assert suite.tokens == ["Bearer given"]
    assert cast("cost_model_pb2.QueryCostsRequest", suite.requests[0]).tenant_id == ""


def test_a_tenant_is_asked_for(finops: Finops) -> None:
    result = finops("usage")

    assert result.code == 2
    assert "--tenant" in result.err


def test_events_are_listed(finops: Finops, suite: Suite) -> None:
    stored = usage_model_pb2.StoredUsageEvent(
        event=usage_model_pb2.UsageEvent(
            event_id="e1", source="s", outcome=usage_model_pb2.OUTCOME_FAILED
        ),
        cost=usage_model_pb2.UsageCost(billed="0", currency_code="USD"),
    )
    answer = usage_service_pb2.ListUsageEventsResponse(events=[stored, stored])
    suite.answers[f"{USAGE}/ListUsageEvents"] = answer

    result = finops("usage", "--tenant", "acme", "--limit", "1", "--format", "csv")

    assert result.out.splitlines()[1:] == [",s,e1,,,,,,,0,USD,failed"]


def test_prices_are_listed_with_their_tiers(finops: Finops, suite: Suite) -> None:
    price = pricing_model_pb2.Price(
        price_id="p1",
        model=pricing_model_pb2.PRICING_MODEL_GRADUATED,
        tiers=[
            pricing_model_pb2.PriceTier(up_to="100", unit_price="2"),
            pricing_model_pb2.PriceTier(unit_price="1.5"),
        ],
    )
    answer = pricing_service_pb2.ListPricesResponse(prices=[price])
    suite.answers[f"{PRICING}/ListPrices"] = answer

    result = finops("prices", "--tenant", "acme", "--format", "json")
    table = finops("prices", "--tenant", "acme")

    assert json.loads(result.out)[0]["priceId"] == "p1"
    assert "2 up to 100, 1.5" in table.out


def test_a_catalogue_is_loaded(finops: Finops, suite: Suite, tmp_path: Path) -> None:
    suite.answers[f"{PRICING}/ImportPrices"] = pricing_service_pb2.ImportPricesResponse(
        created=2, skipped=["image"]
    )
    catalogue = tmp_path / "prices.json"
    catalogue.write_bytes(b"{}")

    result = finops(
        *("prices", "import", "litellm", str(catalogue), "--book", "list", "--tenant", "acme"),
        *("--effective", "2026-01-01", "--format", "json"),
    )

    assert json.loads(result.out) == {"created": 2, "unchanged": 0, "skipped": ["image"]}
    sent = cast("pricing_service_pb2.ImportPricesRequest", suite.requests[0])
    assert (sent.kind, sent.price_book_id, sent.content.data) == ("litellm", "list", b"{}")
    assert finops("prices", "import", "litellm", "--book", "b", "--tenant", "a").code == 2


def feed(request: cost_model_pb2.WatchCostsRequest) -> cost_model_pb2.WatchCostsResponse:
    number = int(request.after_sequence or 0)
    if number >= 3:
        return cost_model_pb2.WatchCostsResponse(sequence=request.after_sequence)
    change = cost_model_pb2.CostChange(
        sequence=str(number + 1), billed_cost=money_pb2.Money(currency_code="USD", amount="1")
    )
    return cost_model_pb2.WatchCostsResponse(changes=[change], sequence=str(number + 1))


def test_the_feed_goes_on_over_lost_connections_to_its_end(finops: Finops, suite: Suite) -> None:
    suite.answers[f"{USAGE}/WatchCosts"] = feed

    whole = finops("feed", "--no-follow", "--tenant", "acme", "--format", "json")
    rest = finops("feed", "--after", "1", "--limit", "1", "--tenant", "acme", "--format", "csv")

    assert [json.loads(line)["sequence"] for line in whole.out.splitlines()] == ["1", "2", "3"]
    assert [line.partition(",")[0] for line in rest.out.splitlines()] == ["sequence", "2"]


def test_a_broken_audit_chain_is_named(finops: Finops, suite: Suite) -> None:
    suite.answers[f"{AUDIT}/VerifyAuditChain"] = audit_service_pb2.VerifyAuditChainResponse(
        is_intact=False, entries=9, first_broken_sequence=4, finding="its hash differs"
    )

    result = finops("audit", "verify", "--tenant", "acme")

    assert result.code == 1
    assert "usage from entry 4 on: its hash differs" in result.err


def test_an_intact_audit_chain_is_success(finops: Finops, suite: Suite) -> None:
    suite.answers[f"{AUDIT}/VerifyAuditChain"] = audit_service_pb2.VerifyAuditChainResponse(
        is_intact=True, entries=9
    )

    result = finops("audit", "verify", "--tenant", "acme", "--format", "csv")

    assert result.code == 0
    assert "usage,yes,9,," in result.out


def test_reconciling_all_tenants_is_for_the_platform(
    finops: Finops, suite: Suite, data_dir: Path
) -> None:
    drift = cost_model_pb2.UsageDrift(tenant_id="acme", date="2026-01-01", event_difference=-1)
    suite.answers[f"{USAGE}/ReconcileUsage"] = cost_model_pb2.ReconcileUsageResponse(
        drifts=[drift], days_checked=3
    )

    result = finops("reconcile", "--tenant", "*")

    assert result.code == 1
    assert "finops reconcile --repair" in result.err
    assert suite.claims(data_dir)["roles"] == ["platform_admin"]


def test_status_names_what_is_not_healthy(finops: Finops) -> None:
    result = finops("status", "--format", "json")

    assert result.code == 1
    assert json.loads(result.out)[0]["state"] == "unhealthy"
    assert "Not healthy: usage" in result.err


def test_doctor_finds_a_secret_that_others_can_read(
    finops: Finops, data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = {"file permissions": checks.check_permissions, "python": checks.check_python}
    monkeypatch.setattr(checks, "CHECKS", kept)
    (data_dir / "secrets.json").chmod(0o644)

    result = finops("doctor", "--format", "json")

    assert result.code == 1
    findings: dict[str, Any] = {item["check"]: item for item in json.loads(result.out)}
    assert findings["python"]["result"] == "ok"
    assert findings["file permissions"]["what to do"] == f"chmod 600 {data_dir / 'secrets.json'}"


def test_doctor_tells_an_expired_and_a_foreign_token(
    finops: Finops, monkeypatch: pytest.MonkeyPatch, data_dir: Path
) -> None:
    monkeypatch.setattr(checks, "CHECKS", {"token": checks.check_token})
    secret = load_or_make_keys(data_dir).jwt_secret
    claims = {"iss": "finops", "aud": "finops", "exp": 1}
    for key, found in ((secret, "Signature has expired"), ("x" * 64, "Signature verification")):
        monkeypatch.setenv("FINOPS_TOKEN", jwt.encode(claims, key, algorithm="HS256"))

        result = finops("doctor")

        assert result.code == 1
        assert found in result.out


def test_a_reader_that_has_gone_is_no_failure(
    finops: Finops, suite: Suite, monkeypatch: pytest.MonkeyPatch
) -> None:
    suite.answers[f"{USAGE}/QueryCosts"] = cost_model_pb2.QueryCostsResponse()

    def gone(*_: object, **__: object) -> None:
        raise BrokenPipeError

    monkeypatch.setattr("cli.output.Output.rows", gone)
    monkeypatch.setattr("cli.main.discard_output", lambda: None)

    assert finops("costs", "--tenant", "acme").code == 0


def test_a_defect_is_one_sentence(finops: Finops, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FINOPS_DEBUG", raising=False)

    def broken(*_: object) -> None:
        raise RuntimeError("unexpected")

    monkeypatch.setattr("cli.token.sign_token", broken)
    monkeypatch.setattr("cli.token.parse_life", broken)

    result = finops("token", "--tenant", "acme")

    assert result.code == 1
    assert "RuntimeError: unexpected" in result.err
    assert "defect" in result.err
