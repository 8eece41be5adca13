"""The states of subscriptions: only what follows from one another, however it is tried."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.billing.domain.credit import CreditGrant, GrantState, in_order_of_use
from services.billing.domain.plan import BillingInterval
from services.billing.domain.subscription import (
    TRANSITIONS,
    PhaseMode,
    Subscription,
    SubscriptionState,
)
from services.billing.errors import InvalidCreditGrant, SubscriptionStateForbids
from services.kernel.period import Period

AT = datetime(2026, 3, 1, tzinfo=UTC)
S = SubscriptionState


def subscription(state: SubscriptionState) -> Subscription:
    return Subscription(
        tenant_id="t",
        subscription_id="s",
        account_id="a",
        plan_id="p",
        plan_version=1,
        currency_code="EUR",
        state=state,
        started_at=AT,
        interval=BillingInterval.MONTH,
        billing_day=1,
        time_zone="UTC",
        anchored_on=date(2026, 3, 1),
        period=Period(AT, AT + timedelta(days=31)),
        created_at=AT,
        updated_at=AT,
    )


@given(st.lists(st.sampled_from(S), max_size=12))
def test_no_walk_leaves_the_table_and_final_states_stay(steps: list[SubscriptionState]) -> None:
    now = subscription(S.INCOMPLETE)

    for step in steps:
        allowed = step in TRANSITIONS[now.state]
        if allowed:
            now = now.moved(step, AT)
            assert now.state is step
        else:
            with pytest.raises(SubscriptionStateForbids):
                now.moved(step, AT)
        if now.state.is_final:
            assert not TRANSITIONS[now.state]


def test_every_state_can_be_reached_and_two_are_final() -> None:
    reached, waiting = set(), [S.INCOMPLETE]
    while waiting:
        state = waiting.pop()
        if state not in reached:
            reached.add(state)
            waiting += TRANSITIONS[state]

    assert reached == set(S)
    assert {state for state in S if state.is_final} == {S.CANCELED, S.INCOMPLETE_EXPIRED}


def test_usage_is_billed_in_the_states_that_owe_and_shown_in_the_others() -> None:
    modes = {state: subscription(state).mode for state in S}

    assert {state for state, mode in modes.items() if mode is PhaseMode.BILLED} == {
        S.ACTIVE,
        S.PAST_DUE,
        S.UNPAID,
    }
    assert modes[S.TRIALING] is PhaseMode.TRIAL


def grant(name: str, **changed: object) -> CreditGrant:
    values: dict[str, object] = {
        "credit_grant_id": name,
        "account_id": "a",
        "currency_code": "EUR",
        "amount": Decimal(10),
        "remaining": Decimal(10),
        "display_name": name,
        "start_at": AT,
        "created_at": AT,
    }
    return CreditGrant(**values | changed)  # type: ignore[arg-type]


def test_credit_is_used_by_priority_then_by_its_end() -> None:
    grants = [
        grant("never"),
        grant("first", priority=-0, expire_at=AT + timedelta(days=1)),
        grant("last", priority=9, expire_at=AT + timedelta(hours=1)),
        grant("later", start_at=AT + timedelta(days=1)),
        grant("empty", remaining=Decimal(0)),
        grant("gone", expire_at=AT + timedelta(seconds=1)),
        grant("void", voided_at=AT),
    ]

    order = in_order_of_use(grants, AT + timedelta(seconds=1))

    assert [each.credit_grant_id for each in order] == ["first", "never", "last"]
    assert grants[3].state(AT) is GrantState.SCHEDULED
    assert grants[5].state(AT + timedelta(days=1)) is GrantState.EXPIRED


def test_credit_that_ends_before_it_begins_cannot_exist() -> None:
    with pytest.raises(InvalidCreditGrant) as caught:
        grant("a", expire_at=AT)
    assert caught.value.reason == "INVALID_CREDIT_GRANT"
