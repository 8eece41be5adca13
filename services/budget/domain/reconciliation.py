"""Comparisons of ledgers with the usage service."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import IntEnum

from services.kernel.money import EXACT
from services.kernel.period import Period


class ReconciliationState(IntEnum):
    """How far a reconciliation is; numbers as in the contract."""

    PENDING = 1
    RUNNING = 2
    SUCCEEDED = 3
    FAILED = 4


class ReconciliationTrigger(IntEnum):
    """What started a reconciliation; numbers as in the contract."""

    SCHEDULE = 1
    REQUEST = 2


@dataclass(frozen=True, slots=True)
class Reconciliation:
    """One comparison. budget_ids: none for all. start_at: None from the previous period on."""

    tenant_id: str
    reconciliation_id: str
    state: ReconciliationState
    trigger: ReconciliationTrigger
    is_repairing: bool
    budget_ids: tuple[str, ...]
    start_at: datetime | None
    end_at: datetime
    author: str
    created_at: datetime
    updated_at: datetime
    done_units: int = 0
    total_units: int = 0
    drift_count: int = 0
    repaired_count: int = 0
    error: str = ""
    ended_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class BudgetDrift:
    """A period in which ledger and usage service differ; entry_id: None unless repaired."""

    budget_id: str
    period: Period
    currency_code: str
    ledger_spent: Decimal
    usage_spent: Decimal
    cause: str
    is_repaired: bool = False
    entry_id: int | None = None

    @property
    def difference(self) -> Decimal:
        """What the ledger has too much; negative where it has too little."""
        return EXACT.subtract(self.ledger_spent, self.usage_spent)
