"""Every rule on a request compiles, every request is bounded, and bad values are told apart."""

from __future__ import annotations

import importlib

import protovalidate
import pytest
from buf.validate import validate_pb2
from finops.billing.v1 import account_service_pb2, invoice_messages_pb2
from finops.budget.v1 import budget_model_pb2, budget_service_pb2, spend_messages_pb2
from finops.common.v1 import money_pb2
from finops.reporting.v1 import reporting_messages_pb2
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import Message

from tests.contracts.image import files, messages, methods

REQUESTS = sorted({method.descriptor.input_type.lstrip(".") for method in methods()})
FIELD = descriptor_pb2.FieldDescriptorProto
DEPTH_MAX = 5


def fill(message: Message, depth: int = 0) -> None:
    """Sets every message field, so that the rules of nested messages are compiled too."""
    kind = message.DESCRIPTOR
    if depth == DEPTH_MAX or kind.full_name.startswith("google."):
        return
    for field in kind.fields:
        if field.message_type is None or field.message_type.GetOptions().map_entry:
            continue
        value = getattr(message, field.name)
        child = value.add() if field.is_repeated else value
        child.SetInParent()
        fill(child, depth + 1)


def empty(name: str) -> Message:
    """Returns a new message of a full name."""
    for file in files():
        importlib.import_module(file.name.removesuffix(".proto").replace("/", ".") + "_pb2")
    found = descriptor_pool.Default().FindMessageTypeByName(name)
    return message_factory.GetMessageClass(found)()


@pytest.mark.parametrize("name", REQUESTS)
def test_rules_of_request_compile(name: str) -> None:
    request = empty(name)
    fill(request)

    # A rule that does not compile raises CompilationError; violations are expected here.
    assert isinstance(protovalidate.collect_violations(request), list)


def is_bounded(field: descriptor_pb2.FieldDescriptorProto) -> bool:
    """Whether a rule limits the size of a text, of bytes or of a list."""
    rules = field.options.Extensions[validate_pb2.field]
    if field.label == FIELD.LABEL_REPEATED:
        return rules.repeated.HasField("max_items") or rules.map.HasField("max_pairs")
    if field.type == FIELD.TYPE_BYTES:
        return rules.bytes.HasField("max_len")
    text = rules.string
    return text.HasField("max_len") or text.HasField("pattern") or len(getattr(text, "in")) > 0


def test_requests_have_bounds() -> None:
    unbounded = []
    for name in REQUESTS:
        for field in messages()[f".{name}"].descriptor.field:
            sized = field.label == FIELD.LABEL_REPEATED or field.type in (
                FIELD.TYPE_STRING,
                FIELD.TYPE_BYTES,
            )
            if sized and not is_bounded(field):
                unbounded.append(f"{name}.{field.name}")

    assert unbounded == []


def paths(message: Message) -> set[str]:
    """Returns the paths of the fields that break a rule."""
    return {
        ".".join(element.field_name for element in path.elements)
        for violation in protovalidate.collect_violations(message)
        if (path := violation.proto.field) is not None
    }


def money(amount: str, currency: str = "USD") -> money_pb2.Money:
    """Returns an amount."""
    return money_pb2.Money(currency_code=currency, amount=amount)


def budget(**changed: object) -> budget_model_pb2.Budget:
    """Returns a budget that is valid but for what is changed."""
    values: dict[str, object] = {
        "display_name": "Research",
        "scope": budget_model_pb2.BudgetScope(department_id="research"),
        "cadence": budget_model_pb2.BUDGET_CADENCE_MONTHLY,
        "amount": money("100.00"),
    }
    return budget_model_pb2.Budget(**(values | changed))  # type: ignore[arg-type]


def create(value: budget_model_pb2.Budget) -> budget_service_pb2.CreateBudgetRequest:
    """Returns the request that creates a budget."""
    return budget_service_pb2.CreateBudgetRequest(budget=value)


def test_a_plain_budget_is_valid() -> None:
    assert paths(create(budget())) == set()


@pytest.mark.parametrize(
    ("changed", "path"),
    [
        ({"display_name": ""}, "budget"),
        ({"amount": None}, "budget"),
        ({"amount": money("-1")}, "budget.amount"),
        ({"amount": money("0.00")}, "budget.amount"),
        ({"amount": money("1e3")}, "budget.amount.amount"),
        ({"amount": money("1", "usd")}, "budget.amount.currency_code"),
        ({"cadence": 99}, "budget.cadence"),
        ({"cost_type": "guessed"}, "budget.cost_type"),
        (
            {"thresholds": [budget_model_pb2.AlertThreshold(threshold_ratio="0")]},
            "budget.thresholds.threshold_ratio",
        ),
        (
            {"thresholds": [budget_model_pb2.AlertThreshold(threshold_ratio="10.5")]},
            "budget.thresholds.threshold_ratio",
        ),
        (
            {"thresholds": [budget_model_pb2.AlertThreshold(threshold_ratio="0.5")] * 21},
            "budget.thresholds",
        ),
        ({"recipients": ["nobody"]}, "budget.recipients"),
        (
            {"period_rule": budget_model_pb2.PeriodRule(time_zone="Mars; DROP")},
            "budget.period_rule.time_zone",
        ),
    ],
)
def test_a_bad_budget_is_refused_at_the_field(changed: dict[str, object], path: str) -> None:
    assert paths(create(budget(**changed))) == {path}


def test_part_of_a_budget_is_enough_for_an_update() -> None:
    part = budget_model_pb2.Budget(budget_id="b1", display_name="Research and more")

    request = budget_service_pb2.UpdateBudgetRequest(budget=part)

    assert paths(request) == set()


@pytest.mark.parametrize("ratio", ["0.000001", "0.5", "1", "1.25", "9.999", "10", "10.0"])
def test_threshold_ratios_up_to_ten_are_valid(ratio: str) -> None:
    threshold = budget_model_pb2.AlertThreshold(threshold_ratio=ratio)

    assert paths(threshold) == set()


def test_spend_needs_its_subject_and_decimal_quantities() -> None:
    request = spend_messages_pb2.AuthorizeSpendRequest(usage={"input_token": "many"})

    assert paths(request) == {"subject", "usage"}


def test_months_are_months() -> None:
    assert paths(invoice_messages_pb2.GenerateInvoiceRequest(month="2026-02")) == set()
    assert paths(invoice_messages_pb2.GenerateInvoiceRequest(month="2026-13")) == {"month"}


def test_dunning_days_are_bounded() -> None:
    request = account_service_pb2.UpdateBillingAccountRequest()
    request.account.dunning.attempt_days.append(400)

    assert paths(request) == {"account.dunning.attempt_days"}


def test_forecast_takes_levels_below_one_and_known_models() -> None:
    good = reporting_messages_pb2.ForecastRequest(model="theta", confidence_ratios=["0.8"])
    bad = reporting_messages_pb2.ForecastRequest(model="oracle", confidence_ratios=["95"])

    assert paths(good) == set()
    assert paths(bad) == {"model", "confidence_ratios"}


def test_every_file_is_covered() -> None:
    services = {file.package.split(".")[1] for file in files() if file.service}

    assert services >= {"usage", "budget", "billing", "optimizer", "reporting", "audit", "records"}
