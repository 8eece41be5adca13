"""Billing runs: many accounts, one after another, resumable at any point."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from types import MappingProxyType

from services.kernel.errors import Error
from services.kernel.money import Money


class RunKind(Enum):
    """What a run makes."""

    INVOICES = "invoices"
    CHARGEBACK = "chargeback"


class RunState(Enum):
    """How far a run is. LOCKING: makes invoices. PUSHING: waits for the provider."""

    PENDING = "pending"
    LOCKING = "locking"
    PUSHING = "pushing"
    DEGRADED = "degraded"
    SUCCEEDED = "succeeded"
    PARTIALLY_FAILED = "partially_failed"
    CANCELLED = "cancelled"
    FAILED = "failed"


class ItemState(Enum):
    """What became of one account."""

    PENDING = "pending"
    RUNNING = "running"
    DONE = "done"
    SKIPPED = "skipped"
    FAILED = "failed"


RUNNING = frozenset({RunState.PENDING, RunState.LOCKING, RunState.PUSHING, RunState.DEGRADED})
RESUMABLE = frozenset(
    {RunState.CANCELLED, RunState.DEGRADED, RunState.FAILED, RunState.PARTIALLY_FAILED}
)
FINISHED = frozenset({ItemState.DONE, ItemState.SKIPPED, ItemState.FAILED})


@dataclass(frozen=True, slots=True, kw_only=True)
class BillingRun:
    """A run. tenant_id: `*` for the platform's. month: `YYYY-MM`. counts: items by state.

    Of a chargeback: department_ids, empty for all that have cost; send_notifications: tells them.
    """

    tenant_id: str
    run_id: str
    kind: RunKind
    state: RunState
    month: str
    actor: str
    created_at: datetime
    finalize: bool = False
    dry_run: bool = False
    plan_id: str = ""
    department_ids: Sequence[str] = ()
    send_notifications: bool = False
    error: str = ""
    started_at: datetime | None = None
    ended_at: datetime | None = None
    counts: Mapping[ItemState, int] = field(default_factory=lambda: MappingProxyType({}))
    invoices: int = 0
    totals: Sequence[Money] = ()
    updated_at: datetime | None = None

    @property
    def done(self) -> int:
        """Accounts finished, whatever became of them."""
        return sum(count for state, count in self.counts.items() if state in FINISHED)

    @property
    def size(self) -> int:
        """Accounts of the whole run."""
        return sum(self.counts.values())

    @property
    def failed(self) -> int:
        """Accounts that failed."""
        return self.counts.get(ItemState.FAILED, 0)

    def outcome(self) -> RunState:
        """Returns the state of the run once every account is finished."""
        return RunState.PARTIALLY_FAILED if self.failed else RunState.SUCCEEDED


def told(error: Exception) -> str:
    """Returns what a run says of an error: an own one in its words, none of a stranger's."""
    return error.message if isinstance(error, Error) else "an internal error; see the log"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunItem:
    """One account of a run. item_id: its subscription, or the department of a chargeback."""

    tenant_id: str
    run_id: str
    item_id: str
    account_id: str
    state: ItemState
    updated_at: datetime
    department_id: str = ""
    invoice_id: str = ""
    total: Money | None = None
    error: str = ""
