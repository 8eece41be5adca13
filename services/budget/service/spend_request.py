"""What callers ask of the ledger."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TypeAlias

from services.budget.domain.scope import SpendAttributes
from services.budget.domain.spend import CostEstimate
from services.kernel.money import Money


@dataclass(frozen=True, slots=True)
class Ask:
    """May this work spend? subject: completed by the directory. digest: of what is asked."""

    tenant_id: str
    subject: SpendAttributes
    estimate: CostEstimate
    hold_for: timedelta
    usage_source: str = ""
    usage_event_id: str = ""
    is_trial: bool = False
    request_id: str = ""
    digest: bytes = b""


@dataclass(frozen=True, slots=True)
class Settle:
    """The work cost this much."""

    tenant_id: str
    authorization_id: str
    cost: Money
    usage_source: str = ""
    usage_event_id: str = ""
    request_id: str = ""
    digest: bytes = b""


@dataclass(frozen=True, slots=True)
class Release:
    """The work did not happen."""

    tenant_id: str
    authorization_id: str
    release_reason: str = ""
    request_id: str = ""
    digest: bytes = b""


Operation: TypeAlias = Ask | Settle | Release
