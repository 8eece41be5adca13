"""Runs of the detectors over one tenant or many."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum

from services.kernel.period import Period


class RunState(IntEnum):
    """How far a run is, as the contract numbers it."""

    PENDING = 1
    RUNNING = 2
    SUCCEEDED = 3
    PARTIALLY_FAILED = 4
    CANCELLED = 5
    FAILED = 6


class RunTrigger(IntEnum):
    """What started a run, as the contract numbers it."""

    REQUEST = 1
    SCHEDULE = 2
    FEED = 3


ENDED = frozenset(
    {RunState.SUCCEEDED, RunState.PARTIALLY_FAILED, RunState.CANCELLED, RunState.FAILED}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One run. tenant_id: whose it is; its targets may be others. Counts are over all targets."""

    run_id: str
    tenant_id: str
    state: RunState
    trigger: RunTrigger
    detector_ids: Sequence[str]
    filter: str
    period: Period
    tenant_count: int
    created_at: datetime
    updated_at: datetime
    done_count: int = 0
    failed_count: int = 0
    event_count: int = 0
    found_count: int = 0
    refreshed_count: int = 0
    expired_count: int = 0
    error: str = ""
    ended_at: datetime | None = None

    @property
    def has_ended(self) -> bool:
        """Whether nothing more will happen in it."""
        return self.state in ENDED

    def end_state(self) -> RunState:
        """Returns the state when all targets are done."""
        if not self.failed_count:
            return RunState.SUCCEEDED
        if self.failed_count < self.tenant_count:
            return RunState.PARTIALLY_FAILED
        return RunState.FAILED


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetOutcome:
    """What a run did for one tenant."""

    events: int = 0
    found: int = 0
    refreshed: int = 0
    expired: int = 0
    error: str = ""
