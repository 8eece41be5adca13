"""What auditors ask: entries of all services' logs, their chains, and a report over both."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from services.kernel.period import Period


@dataclass(frozen=True, slots=True)
class AuditRecord:
    """One entry of one service's log. before, after: the resource's state, None where none was."""

    service: str
    sequence: int
    recorded_at: datetime
    actor: str
    action: str
    resource: str
    before: Mapping[str, Any] | None
    after: Mapping[str, Any] | None
    trace_id: str
    entry_hash: str

    @property
    def name(self) -> str:
        """How evidence cites it."""
        return f"{self.service}/{self.sequence}"

    @property
    def noun(self) -> str:
        """What was changed, as the action names it: `budgets` of `budgets.update`."""
        return self.action.partition(".")[0]


@dataclass(frozen=True, slots=True)
class ChainResult:
    """How one service's chain of a tenant looks. first_broken_sequence: 0 where it is whole."""

    service: str
    is_reachable: bool
    is_intact: bool = False
    entries: int = 0
    first_broken_sequence: int = 0
    finding: str = ""
    head_hash: str = ""


@dataclass(frozen=True, slots=True)
class ChangeSummary:
    """Changes of one kind by one person. query: the REST question that lists them."""

    service: str
    resource_kind: str
    actor: str
    change_count: int
    resources: tuple[str, ...]
    query: str


@dataclass(frozen=True, slots=True)
class DutyException:
    """A rule of segregation that was not kept. entries: as `service/sequence`."""

    rule: str
    actor: str
    resources: tuple[str, ...]
    entries: tuple[str, ...]
    description: str


@dataclass(frozen=True, slots=True)
class AccessSummary:
    """Roles of a person or key. last_use_at: of the last change in the period, None for none."""

    actor: str
    roles: tuple[str, ...]
    last_use_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class ComplianceReport:
    """Evidence over one period."""

    kind: str
    period: Period
    changes: tuple[ChangeSummary, ...]
    exceptions: tuple[DutyException, ...]
    chains: tuple[ChainResult, ...]
    access: tuple[AccessSummary, ...]
    created_at: datetime


@dataclass(slots=True)
class Tally:
    """Changes of one kind and actor while they are counted."""

    count: int = 0
    resources: dict[str, None] = field(default_factory=dict)


def kind_of(noun: str) -> str:
    """Returns the kind of resource that an action's noun names: `budget` of `budgets`."""
    return noun.removesuffix("s") if noun.endswith("s") and not noun.endswith("ss") else noun
