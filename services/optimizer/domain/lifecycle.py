"""The life of a recommendation: who may move it where, and what a measurement makes of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from enum import IntEnum
from types import MappingProxyType

from services.kernel.period import Period
from services.optimizer.domain.finding import Estimate, Finding
from services.optimizer.errors import DismissalReasonRequired, InvalidInstant, TransitionNotAllowed

COMPLETED_BEFORE_MAX = timedelta(days=730)  # usage from before it is not kept for longer
CLOCKS_APART_MAX = timedelta(minutes=5)
LIFETIME = timedelta(days=30)  # without being found again
CAUSE_CHANGED_RATIO = Decimal("1.5")  # dismissed advice returns when it has become worth that more


class State(IntEnum):
    """States, as the contract numbers them."""

    PROPOSED = 1
    ACCEPTED = 2
    IN_PROGRESS = 3
    COMPLETED = 4
    VERIFIED = 5
    REFUTED = 6
    DISMISSED = 7
    EXPIRED = 8


class DismissalReason(IntEnum):
    """Why advice is not followed, as the contract numbers the reasons; 0 is none."""

    NONE = 0
    NOT_APPLICABLE = 1
    EXPECTED = 2
    TOO_RISKY = 3
    TOO_MUCH_EFFORT = 4
    QUALITY = 5
    DUPLICATE = 6
    OTHER = 7


class Verdict(IntEnum):
    """What a measurement says, as the contract numbers it."""

    PENDING = 1
    VERIFIED = 2
    REFUTED = 3
    INCONCLUSIVE = 4


OPEN = frozenset({State.PROPOSED, State.ACCEPTED, State.IN_PROGRESS})
DONE = frozenset({State.COMPLETED, State.VERIFIED, State.REFUTED})
# What people may do; measuring, expiring and finding anew are the service's.
_ALLOWED: Mapping[State, frozenset[State]] = MappingProxyType(
    {
        State.PROPOSED: OPEN | {State.COMPLETED, State.DISMISSED},
        State.ACCEPTED: OPEN | {State.COMPLETED, State.DISMISSED},
        State.IN_PROGRESS: OPEN | {State.COMPLETED, State.DISMISSED},
        State.COMPLETED: frozenset({State.COMPLETED, State.IN_PROGRESS}),
        State.VERIFIED: frozenset(),
        State.REFUTED: frozenset(),
        State.DISMISSED: frozenset({State.PROPOSED, State.DISMISSED}),
        State.EXPIRED: frozenset(),
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recommendation:
    """Advice with its life. period: of the usage it stands on. revision: counts changes."""

    recommendation_id: str
    tenant_id: str
    finding: Finding
    period: Period
    state: State
    created_at: datetime
    updated_at: datetime
    expires_at: datetime
    owner: str = ""
    notes: str = ""
    snoozed_until: datetime | None = None
    dismissal_reason: DismissalReason = DismissalReason.NONE
    completed_at: datetime | None = None
    rank: int = 0
    revision: int = 1

    @property
    def etag(self) -> str:
        """Changes with every change by people or measurements."""
        return f"r{self.revision}"

    def moved(self, state: State, *, now: datetime) -> Recommendation:
        """Returns it in another state, as a measurement or a lost cause leaves it."""
        return replace(self, state=state, updated_at=now, revision=self.revision + 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class StateChange:
    """One step in a life. before: None for the first; equal to after when only words changed."""

    before: State | None
    after: State
    actor: str
    note: str
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What somebody changes; None leaves a field as it is.

    snoozed_until, completed_at: with their `sets_` flag they are set, to None as well.
    """

    state: State | None = None
    owner: str | None = None
    notes: str | None = None
    sets_snooze: bool = False
    snoozed_until: datetime | None = None
    dismissal_reason: DismissalReason | None = None
    completed_at: datetime | None = None
    etag: str = ""
    note: str = ""


def decide(known: Recommendation, decision: Decision, *, now: datetime) -> Recommendation:
    """Returns the recommendation after a decision.

    Raises TransitionNotAllowed, DismissalReasonRequired, InvalidInstant.
    """
    target = decision.state or known.state
    if decision.state is not None and target not in _ALLOWED[known.state]:
        allowed = ", ".join(sorted(state.name for state in _ALLOWED[known.state])) or "nothing"
        raise TransitionNotAllowed(
            f"{known.state.name} can become {allowed}, not {target.name}",
            state=known.state.name,
            target=target.name,
            allowed=allowed,
        )
    reason = known.dismissal_reason
    if decision.dismissal_reason is not None:
        reason = decision.dismissal_reason
    if target is State.DISMISSED and reason is DismissalReason.NONE:
        raise DismissalReasonRequired(recommendation_id=known.recommendation_id)
    if target is not State.DISMISSED:
        reason = DismissalReason.NONE
    completed_at = None
    if target in DONE:
        completed_at = decision.completed_at or known.completed_at or now
        is_earlier = completed_at < now - COMPLETED_BEFORE_MAX
        is_later = completed_at > now + CLOCKS_APART_MAX
        if decision.completed_at is not None and (is_earlier or is_later):
            raise InvalidInstant(
                "completion_time is when it was done: not in the future, and in the last "
                f"{COMPLETED_BEFORE_MAX.days} days",
                value=completed_at.isoformat(),
            )
    return replace(
        known,
        state=target,
        owner=known.owner if decision.owner is None else decision.owner,
        notes=known.notes if decision.notes is None else decision.notes,
        snoozed_until=decision.snoozed_until if decision.sets_snooze else known.snoozed_until,
        dismissal_reason=reason,
        completed_at=completed_at,
        updated_at=now,
        revision=known.revision + 1,
    )


def refreshed(
    known: Recommendation, finding: Finding, period: Period, *, now: datetime
) -> Recommendation:
    """Returns a recommendation whose cause was found again.

    What was completed or measured is history and stays as it is. Dismissed advice stays dismissed
    unless it has become worth much more; expired advice is proposed anew.
    """
    if known.state in DONE:
        return known
    state, reason = known.state, known.dismissal_reason
    grown = known.finding.saving.expected * CAUSE_CHANGED_RATIO
    if state is State.EXPIRED or (state is State.DISMISSED and finding.saving.expected > grown > 0):
        state, reason = State.PROPOSED, DismissalReason.NONE
    elif state is State.DISMISSED:
        return replace(known, expires_at=now + LIFETIME)
    return replace(
        known,
        finding=finding,
        period=period,
        state=state,
        dismissal_reason=reason,
        updated_at=now,
        expires_at=now + LIFETIME,
        revision=known.revision + 1,
    )


def verdict_of(realized: Estimate, claimed: Estimate) -> Verdict:
    """Returns what a measured interval says about a claim.

    Refuted is also what may be zero and is certainly not half of what was claimed.
    """
    if realized.lower > 0:
        return Verdict.VERIFIED
    if realized.upper <= 0 or realized.upper < claimed.expected / 2:
        return Verdict.REFUTED
    return Verdict.INCONCLUSIVE


def state_after(verdict: Verdict, state: State) -> State:
    """Returns the state that a verdict makes of a completed recommendation."""
    if verdict is Verdict.VERIFIED:
        return State.VERIFIED
    return State.REFUTED if verdict is Verdict.REFUTED else state
