"""What becomes of a hold: settled, released, expired, or replaced by the usage event itself.

Money is never lost and never counted twice. A settlement counts as spent until the usage event of
the same work arrives by the cost feed, which counts by itself; then the settlement is taken back.
The event may come first: then the settlement only gives the hold back.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple

from services.budget.domain.ledger_entry import LedgerEntryKind, Movement
from services.budget.domain.spend import AuthorizationState
from services.budget.domain.spend_errors import AuthorizationNotHeld, AuthorizationSettled
from services.kernel.money import EXACT, Money

_ZERO = Decimal(0)


@dataclass(frozen=True, slots=True)
class Conversion:
    """An amount in a budget's currency and how it came there; rate None without conversion."""

    amount: Decimal
    rate: Decimal | None = None
    rate_date: str = ""


Convert = Callable[[Money, str], Conversion]


class Hold(NamedTuple):
    """What an authorization asked of one budget, in that budget's currency.

    settled: what a settlement put into its spent and no usage event has replaced.
    """

    budget_id: str
    period_start: datetime
    currency_code: str
    amount: Decimal
    settled: Decimal = _ZERO


class OpenAuthorization(NamedTuple):
    """The part of an authorization that its ending works on, its row being locked.

    is_replaced: the usage event has arrived and counts by itself. end_request_id: of the call that
    settled or released it, with the digest of what it asked.
    """

    tenant_id: str
    authorization_id: str
    state: AuthorizationState
    held: Money
    holds: tuple[Hold, ...]
    expires_at: datetime
    settled: Money | None = None
    excess: Decimal = _ZERO
    is_settled_late: bool = False
    is_replaced: bool = False
    usage_source: str = ""
    usage_event_id: str = ""
    ended_at: datetime | None = None
    end_request_id: str = ""
    end_digest: bytes = b""
    release_reason: str = ""


@dataclass(frozen=True, slots=True)
class Ending:
    """The authorization after the change, and the movements that the change makes."""

    authorization: OpenAuthorization
    movements: Sequence[Movement]


def settle(
    authorization: OpenAuthorization,
    cost: Money,
    now: datetime,
    convert: Convert,
    *,
    usage_source: str = "",
    usage_event_id: str = "",
) -> Ending:
    """Replaces the hold by the real cost, in full even where it is above the hold.

    Raises AuthorizationSettled when a settlement was taken before, AuthorizationNotHeld when
    nothing was ever held or it was released.
    """
    state = authorization.state
    if state is AuthorizationState.SETTLED and authorization.is_replaced:
        # Its own usage event settled it; the cost of the event is what counts.
        return Ending(authorization, [])
    if state is AuthorizationState.SETTLED:
        raise AuthorizationSettled(authorization_id=authorization.authorization_id)
    if state in (AuthorizationState.DENIED, AuthorizationState.RELEASED):
        raise AuthorizationNotHeld(
            authorization_id=authorization.authorization_id, state=state.name
        )
    movements, holds = [], []
    for hold in authorization.holds:
        converted = convert(cost, hold.currency_code)
        counted = _ZERO if authorization.is_replaced else converted.amount
        excess = max(EXACT.subtract(converted.amount, hold.amount), _ZERO)
        movements.append(
            _movement(authorization, hold, LedgerEntryKind.SETTLEMENT)._replace(
                spent_change=counted,
                settled_change=counted,
                excess_change=excess,
                source_currency=cost.currency_code if converted.rate is not None else "",
                source_amount=cost.amount if converted.rate is not None else None,
                rate=converted.rate,
                rate_date=converted.rate_date,
                usage_event_id=usage_event_id or authorization.usage_event_id,
            )
        )
        holds.append(hold._replace(settled=counted))
    in_hold_currency = convert(cost, authorization.held.currency_code).amount
    ended = authorization._replace(
        state=AuthorizationState.SETTLED,
        holds=tuple(holds),
        settled=cost,
        excess=max(EXACT.subtract(in_hold_currency, authorization.held.amount), _ZERO),
        is_settled_late=state is AuthorizationState.EXPIRED or now >= authorization.expires_at,
        usage_source=usage_source or authorization.usage_source,
        usage_event_id=usage_event_id or authorization.usage_event_id,
        ended_at=now,
    )
    return Ending(ended, movements)


def release(authorization: OpenAuthorization, now: datetime, reason: str) -> Ending:
    """Gives the hold back because the work did not happen; of an expired one it was already.

    Raises AuthorizationSettled, AuthorizationNotHeld.
    """
    state = authorization.state
    if state is AuthorizationState.SETTLED:
        raise AuthorizationSettled(authorization_id=authorization.authorization_id)
    if state in (AuthorizationState.DENIED, AuthorizationState.RELEASED):
        raise AuthorizationNotHeld(
            authorization_id=authorization.authorization_id, state=state.name
        )
    return _given_back(
        authorization._replace(release_reason=reason),
        now,
        LedgerEntryKind.RELEASE,
        AuthorizationState.RELEASED,
    )


def expire(authorization: OpenAuthorization, now: datetime) -> Ending:
    """Gives back a hold that ran out; a settlement is still taken."""
    return _given_back(authorization, now, LedgerEntryKind.EXPIRY, AuthorizationState.EXPIRED)


def replace_by_usage(authorization: OpenAuthorization, cost: Money, now: datetime) -> Ending:
    """Takes note that the usage event of the work has arrived, whose cost counts by itself.

    An open hold is settled by it; a settlement that stood in its place is taken back.
    """
    state = authorization.state
    if authorization.is_replaced or state is AuthorizationState.DENIED:
        return Ending(authorization, [])
    is_settling = state in (AuthorizationState.HELD, AuthorizationState.EXPIRED)
    movements = [
        _movement(authorization, hold, LedgerEntryKind.SETTLEMENT)._replace(
            spent_change=EXACT.minus(hold.settled),
            settled_change=EXACT.minus(hold.settled),
            excess_change=_excess(cost, hold.currency_code, hold.amount) if is_settling else _ZERO,
        )
        for hold in authorization.holds
    ]
    holds = tuple(hold._replace(settled=_ZERO) for hold in authorization.holds)
    ended = authorization._replace(is_replaced=True, holds=holds)
    if is_settling:
        held = authorization.held
        ended = ended._replace(
            state=AuthorizationState.SETTLED,
            settled=cost,
            excess=_excess(cost, held.currency_code, held.amount),
            is_settled_late=state is AuthorizationState.EXPIRED,
            ended_at=now,
        )
    moved = [
        each for each in movements if each.spent_change or each.held_change or each.excess_change
    ]
    return Ending(ended, moved)


def _excess(cost: Money, currency_code: str, held: Decimal) -> Decimal:
    if cost.currency_code != currency_code:
        return _ZERO  # the usage service priced it in another currency; budgets convert each change
    return max(EXACT.subtract(cost.amount, held), _ZERO)


def _given_back(
    authorization: OpenAuthorization,
    now: datetime,
    kind: LedgerEntryKind,
    state: AuthorizationState,
) -> Ending:
    movements = [_movement(authorization, hold, kind) for hold in authorization.holds]
    ended = authorization._replace(state=state, ended_at=now)
    return Ending(ended, [each for each in movements if each.held_change])


def _movement(authorization: OpenAuthorization, hold: Hold, kind: LedgerEntryKind) -> Movement:
    """Returns the movement that gives back what is still held, and no more."""
    is_held = authorization.state is AuthorizationState.HELD
    return Movement(
        authorization.tenant_id,
        hold.budget_id,
        hold.period_start,
        kind,
        hold.currency_code,
        held_change=EXACT.minus(hold.amount) if is_held else _ZERO,
        authorization_id=authorization.authorization_id,
        usage_event_id=authorization.usage_event_id,
    )
