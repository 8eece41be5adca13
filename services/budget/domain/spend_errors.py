"""What the ledger refuses, each with its reason."""

from __future__ import annotations

from services.kernel.errors import (
    Aborted,
    AlreadyExists,
    FailedPrecondition,
    NotFound,
    ResourceExhausted,
)


class SpendLimitReached(ResourceExhausted):
    """A hard limit is in the way; each budget is named, with what is left and its next reset."""

    reason = "SPEND_LIMIT_REACHED"


class SpendThrottled(ResourceExhausted):
    """A budget near its limit slows work down; ask again after the time given."""

    reason = "SPEND_THROTTLED"


class SpendUnpriced(ResourceExhausted):
    """The price is unknown and a budget refuses such work; give an amount or add a price."""

    reason = "SPEND_UNPRICED"


class SpendRequestIdReused(AlreadyExists):
    """This request_id was used for another request; use a new one for a new request."""

    reason = "SPEND_REQUEST_ID_REUSED"


class AuthorizationNotFound(NotFound):
    """No spend authorization with this id exists for the tenant."""

    reason = "AUTHORIZATION_NOT_FOUND"


class AuthorizationSettled(FailedPrecondition):
    """The authorization was settled before; correct its cost by amending the usage event."""

    reason = "AUTHORIZATION_SETTLED"


class AuthorizationNotHeld(FailedPrecondition):
    """Nothing is held under this authorization; report what was spent as usage."""

    reason = "AUTHORIZATION_NOT_HELD"


class DirectoryNotRead(Aborted):
    """The tenant's directory is not read yet; repeat the call."""

    reason = "DIRECTORY_NOT_READ"


class ReconciliationNotFound(NotFound):
    """No reconciliation with this id exists for the tenant."""

    reason = "BUDGET_RECONCILIATION_NOT_FOUND"
