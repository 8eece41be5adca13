"""The quick proof of validity agrees with the full rules, and one bad event spoils no other."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from finops.usage.v1.usage_model_pb2 import UsageComponent, UsageCost, UsageEvent
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import given, settings
from hypothesis import strategies as st

from services.kernel.validation import violations_of
from services.usage.convert.dates import to_date
from services.usage.convert.ordinary import ordinary_event, remember_valid
from services.usage.convert.usage import EVENTS_MAX, to_event, to_inbox
from services.usage.convert.validity import semantic_violations
from services.usage.domain.question import InvalidInstant
from services.usage.errors import BatchSize

Change = Callable[[UsageEvent], None]

STRINGS = [
    "event_id",
    "source",
    "tenant_id",
    "resource_type",
    "unit",
    "user_id",
    "department",
    "project",
    "resource_id",
    "service",
    "service_category",
    "provider",
    "region",
    "sub_account_id",
    "charge_category",
    "error_code",
]
NASTY = ("", " ", "\x00", "a\x00b", "\n", "a\n", "\x1f", "\x7f", "\x85", "\u2028", "\ufeff", "ä")
LENGTHS = (31, 32, 33, 63, 64, 65, 127, 128, 129, 255, 256, 257, 511, 512, 513)
DECIMALS = (
    *(
        "",
        "0",
        "1",
        "-1",
        "-0",
        "+1",
        "1.",
        ".5",
        "0.1",
        "00",
        "1e3",
        "NaN",
        "Infinity",
        "1\n",
        " 1",
    ),
    *("1_0", "\u0661", "\u00b2", "1.\u0661", "9" * 20, "9" * 21, "9" * 20 + "." + "9" * 18),
    *("0." + "0" * 17 + "1", "0." + "1" * 19),
)
SECONDS = (-(2**62), -62135596800, -1, 0, 1, 1_772_000_000, 7_258_118_399, 7_258_118_400, 2**62)
NANOS = (-(2**31), -1, 0, 1, 999, 1000, 999_999_999, 1_000_000_000, 2**31 - 1)
CURRENCIES = ("", "USD", "usd", "US", "USD_CREDITS", "USD\n", "U" * 16, "U" * 17)
RATIOS = (-1e-9, -0.0, 0.0, 0.5, 1.14, 10.0, 10.0000001, float("nan"), float("inf"), -float("inf"))

texts = st.one_of(
    st.sampled_from(NASTY),
    st.sampled_from(LENGTHS).map("a".__mul__),
    st.sampled_from(LENGTHS).map("é".__mul__),
    st.text(max_size=8),
)
decimals = st.one_of(st.sampled_from(DECIMALS), st.decimals(allow_nan=False).map(str))
instants = st.builds(Timestamp, seconds=st.sampled_from(SECONDS), nanos=st.sampled_from(NANOS))


def plain(number: int = 0, **fields: object) -> UsageEvent:
    """Returns an event as ordinary as they come."""
    kept = {"start_time": Timestamp(seconds=1_772_000_000)} if "start_time" not in fields else {}
    wanted = {
        "event_id": f"e{number}",
        "source": "test",
        "resource_type": "vm",
        "quantity": "1.5",
        "unit": "hour",
    }
    return UsageEvent(**(kept | wanted | fields))  # type: ignore[arg-type]


def set_field(name: str) -> Callable[[object], Change]:
    def of(value: object) -> Change:
        return lambda event: setattr(event, name, value)

    return of


def put_instant(name: str) -> Callable[[Timestamp], Change]:
    def of(value: Timestamp) -> Change:
        return lambda event: getattr(event, name).CopyFrom(value)

    return of


def put_cost(cost: UsageCost) -> Change:
    return lambda event: event.cost.CopyFrom(cost)


def put_components(components: list[UsageComponent]) -> Change:
    return lambda event: event.components.extend(components)


def put_tags(tags: dict[str, str]) -> Change:
    return lambda event: event.tags.update(tags)


def cleared(name: str) -> Change:
    return lambda event: event.ClearField(name)  # type: ignore[arg-type]


maybe_decimal = st.none() | decimals
changes: st.SearchStrategy[Change] = st.one_of(
    st.one_of([texts.map(set_field(name)) for name in STRINGS]),
    st.one_of([decimals.map(set_field(name)) for name in ("quantity", "capacity")]),
    st.one_of([instants.map(put_instant(name)) for name in ("start_time", "end_time")]),
    st.builds(
        UsageCost,
        currency_code=st.sampled_from(CURRENCIES),
        billed=decimals,
        effective=maybe_decimal,
        list=maybe_decimal,
        contracted=maybe_decimal,
    ).map(put_cost),
    st.builds(UsageCost, currency_code=st.sampled_from(CURRENCIES), billed=st.just("1")).map(
        put_cost
    ),
    st.lists(
        st.builds(UsageComponent, meter=texts | st.sampled_from("ab"), quantity=decimals),
        max_size=18,
    ).map(put_components),
    st.dictionaries(texts, texts, max_size=66).map(put_tags),
    st.sampled_from([-(2**31), -5, -4, -1, 0, 1, 3, 4, 2**31 - 1]).map(set_field("outcome")),
    st.sampled_from([-1, 0, 10_000, 10_001]).map(set_field("retries")),
    st.sampled_from([-1, 0, 31_536_000_000, 31_536_000_001]).map(set_field("latency_ms")),
    st.sampled_from(RATIOS).map(set_field("utilization")),
    st.sampled_from(["start_time", "quantity", "unit", "source"]).map(cleared),
)


@st.composite
def events(draw: st.DrawFn) -> UsageEvent:
    """Draws an ordinary event with a few fields changed to whatever callers may send."""
    event = plain()
    for change in draw(st.lists(changes, max_size=4)):
        change(event)
    return event


def problems_of(event: UsageEvent) -> list[tuple[str, str]]:
    """Returns what is wrong by the full rules; remembers the attributes where nothing is."""
    found = [*violations_of(event), *semantic_violations(event)]
    if not found:
        remember_valid(to_event(event))
    return found


def is_quickly_accepted(event: UsageEvent) -> bool:
    found = ordinary_event(event)
    if found is not None:
        assert found == to_event(event)
    return found is not None


@settings(max_examples=400)
@given(event=events())
def test_what_the_quick_proof_accepts_keeps_every_rule(event: UsageEvent) -> None:
    assert problems_of(plain()) == []  # so that its attributes are known
    found = problems_of(event)

    assert not found or not is_quickly_accepted(event), found


def with_changes(*made: Change) -> UsageEvent:
    event = plain()
    for change in made:
        change(event)
    return event


@pytest.mark.parametrize(
    "event",
    [
        with_changes(cleared("start_time")),
        with_changes(put_cost(UsageCost(billed="1"))),
        with_changes(set_field("outcome")(-1)),
        with_changes(set_field("tenant_id")("a\x00")),
        with_changes(
            put_instant("start_time")(Timestamp(seconds=1, nanos=999)),
            put_instant("end_time")(Timestamp(seconds=1, nanos=998)),
        ),
    ],
    ids=["no start", "cost without currency", "negative outcome", "NUL in tenant", "end by 1 ns"],
)
def test_what_differs_from_an_ordinary_event_by_little_is_still_refused(event: UsageEvent) -> None:
    assert problems_of(plain()) == []

    assert problems_of(event)
    assert not is_quickly_accepted(event)


def test_an_ordinary_event_is_accepted_quickly() -> None:
    assert problems_of(plain()) == []

    assert is_quickly_accepted(plain(1, end_time=Timestamp(seconds=1_772_000_001)))


@settings(max_examples=400)
@given(event=events())
def test_one_event_decides_over_itself_alone(event: UsageEvent) -> None:
    event.tenant_id = ""
    inbox = to_inbox([plain(1), event, plain(2)], "acme")

    positions, accepted = inbox.by_tenant["acme"]
    refused = {problem.position for problem in inbox.problems}
    assert refused == ({1} if problems_of(event) else set())
    assert positions == sorted({0, 1, 2} - refused)
    assert [accepted[0].event_id, accepted[-1].event_id] == ["e1", "e2"]


def nul_in(name: str) -> UsageEvent:
    return with_changes(set_field(name)("a\x00b"))


@pytest.mark.parametrize(
    ("field", "event"),
    [
        *[(name, nul_in(name)) for name in STRINGS],
        ("quantity", nul_in("quantity")),
        ("capacity", nul_in("capacity")),
        ("cost.currency_code", plain(cost=UsageCost(currency_code="US\x00", billed="1"))),
        ("cost.billed", plain(cost=UsageCost(currency_code="USD", billed="1\x00"))),
        ("components", plain(components=[UsageComponent(meter="a\x00", quantity="1")])),
        ("components[0].quantity", plain(components=[UsageComponent(meter="a", quantity="\x00")])),
        ("tags", plain(tags={"a\x00": "b"})),
        ("tags", plain(tags={"a": "\x00"})),
    ],
)
def test_no_string_holds_the_character_that_postgresql_cannot(
    field: str, event: UsageEvent
) -> None:
    inbox = to_inbox([plain(1), event, plain(2)], "acme")

    assert {(problem.position, problem.field) for problem in inbox.problems} == {(1, field)}
    assert inbox.by_tenant["acme"][0] == [0, 2]


@pytest.mark.parametrize("size", [0, EVENTS_MAX + 1])
def test_a_batch_of_no_or_too_many_events_is_refused(size: int) -> None:
    with pytest.raises(BatchSize):
        to_inbox([plain()] * size, "acme")


def test_a_date_that_no_calendar_has_is_refused() -> None:
    with pytest.raises(InvalidInstant):
        to_date("4080-85-94")

    assert to_date("2024-02-29").day == 29
