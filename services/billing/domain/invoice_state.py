"""The life of an invoice: which state may follow which."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from types import MappingProxyType

from services.billing.errors import InvoiceStateForbids


class InvoiceKind(Enum):
    """What an invoice is for."""

    PERIOD = "period"
    FINAL = "final"
    PRORATION = "proration"
    CHARGEBACK = "chargeback"


class InvoiceState(Enum):
    """Where an invoice is in its life."""

    DRAFT = "draft"
    RATED = "rated"
    LOCKED = "locked"
    PUSHING = "pushing"
    OPEN = "open"
    PROCESSING = "processing"
    PAST_DUE = "past_due"
    PAID = "paid"
    UNCOLLECTIBLE = "uncollectible"
    VOID = "void"
    PART_CREDITED = "part_credited"
    CREDITED = "credited"
    BLOCKED = "blocked"


_S = InvoiceState

# What is not here is refused. BLOCKED leads back to the state it was entered from, or to VOID.
TRANSITIONS: Mapping[InvoiceState, frozenset[InvoiceState]] = MappingProxyType(
    {
        _S.DRAFT: frozenset({_S.RATED, _S.VOID, _S.BLOCKED}),
        _S.RATED: frozenset({_S.LOCKED, _S.DRAFT, _S.VOID, _S.BLOCKED}),
        # PAID: nothing is due. OPEN: an internal invoice, which no provider sees.
        _S.LOCKED: frozenset({_S.PUSHING, _S.PAID, _S.OPEN, _S.VOID, _S.BLOCKED}),
        # LOCKED: the provider could not be told, and nothing is there.
        _S.PUSHING: frozenset({_S.OPEN, _S.PAID, _S.LOCKED, _S.BLOCKED}),
        _S.OPEN: frozenset({_S.PROCESSING, _S.PAST_DUE, _S.PAID, _S.VOID, _S.CREDITED, _S.BLOCKED}),
        _S.PROCESSING: frozenset({_S.PAID, _S.OPEN, _S.PAST_DUE, _S.BLOCKED}),
        _S.PAST_DUE: frozenset(
            {_S.PROCESSING, _S.PAID, _S.UNCOLLECTIBLE, _S.VOID, _S.CREDITED, _S.BLOCKED}
        ),
        _S.UNCOLLECTIBLE: frozenset({_S.PAID, _S.VOID, _S.CREDITED, _S.BLOCKED}),
        _S.PAID: frozenset({_S.PART_CREDITED, _S.CREDITED}),
        # Back, when a credit note that was not settled is voided.
        _S.PART_CREDITED: frozenset({_S.PAID, _S.CREDITED}),
        _S.CREDITED: frozenset({_S.PAID, _S.PART_CREDITED, _S.OPEN, _S.PAST_DUE, _S.UNCOLLECTIBLE}),
        _S.VOID: frozenset(),
        _S.BLOCKED: frozenset(
            {_S.DRAFT, _S.RATED, _S.LOCKED, _S.PUSHING, _S.OPEN, _S.PROCESSING, _S.PAST_DUE}
            | {_S.UNCOLLECTIBLE, _S.VOID}
        ),
    }
)

# Not numbered yet; everything about them may still change.
UNLOCKED = frozenset({_S.DRAFT, _S.RATED})
# Issued, and something may be owed.
COLLECTIBLE = frozenset({_S.OPEN, _S.PAST_DUE})
UNPAID = frozenset({_S.OPEN, _S.PROCESSING, _S.PAST_DUE, _S.UNCOLLECTIBLE})
CREDITABLE = frozenset(
    {_S.OPEN, _S.PAST_DUE, _S.UNCOLLECTIBLE, _S.PAID, _S.PART_CREDITED, _S.CREDITED}
)
# Whoever gets the invoice knows of it.
ISSUED = frozenset(
    {_S.OPEN, _S.PROCESSING, _S.PAST_DUE, _S.PAID, _S.UNCOLLECTIBLE, _S.PART_CREDITED, _S.CREDITED}
)
VOIDABLE = frozenset({_S.DRAFT, _S.RATED, _S.LOCKED, _S.OPEN, _S.PAST_DUE, _S.UNCOLLECTIBLE})


def require_move(before: InvoiceState, after: InvoiceState, *, blocked_from: str = "") -> None:
    """Raises InvoiceStateForbids unless the one state may follow the other.

    blocked_from: for BLOCKED, the state it was entered from: the only one, with VOID, to go to.
    """
    allowed = TRANSITIONS[before]
    if before is InvoiceState.BLOCKED and blocked_from:
        allowed = frozenset({InvoiceState(blocked_from), InvoiceState.VOID})
    if after not in allowed:
        raise InvoiceStateForbids(
            f"an invoice that is {before.value} cannot become {after.value}",
            state=before.value,
            wanted=after.value,
        )


def require_state(state: InvoiceState, allowed: frozenset[InvoiceState], *, wanted: str) -> None:
    """Raises InvoiceStateForbids unless the state is one of those. wanted: what is to be done."""
    if state not in allowed:
        names = ", ".join(sorted(each.value for each in allowed))
        raise InvoiceStateForbids(
            f"to {wanted}, an invoice must be one of {names}; this one is {state.value}",
            state=state.value,
            wanted=wanted,
        )
