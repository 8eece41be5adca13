"""How long records stay, and which must."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum
from typing import Final

from services.reporting.domain.figures import quoted

EVERYTHING: Final = ""  # the filter that every record matches


class RunState(IntEnum):
    """How far a removal is; numbers as in the contract."""

    PENDING = 1
    RUNNING = 2
    SUCCEEDED = 3
    FAILED = 4


@dataclass(frozen=True, slots=True)
class RecordCollection:
    """One kind of records that a service keeps.

    retention_days: without a policy, 0 for ever. retention_days_min: the fewest of a policy.
    """

    collection: str
    service: str
    description: str
    personal: bool
    erasable: bool
    retention_days: int
    retention_days_min: int


@dataclass(frozen=True, slots=True)
class RetentionPolicy:
    """How long records of a collection stay. filter: of which records, empty for all."""

    tenant_id: str
    policy_id: str
    collection: str
    retention_days: int
    filter: str
    created_at: datetime
    updated_at: datetime
    version: int = 1

    @property
    def etag(self) -> str:
        """The version, as callers see it."""
        return f"v{self.version}"

    @property
    def resource(self) -> str:
        """The name that the audit log has."""
        return f"retention-policies/{self.policy_id}"


@dataclass(frozen=True, slots=True)
class LegalHold:
    """Records that stay. collections, subject_id, filter: empty is all, anybody, all records."""

    tenant_id: str
    legal_hold_id: str
    display_name: str
    collections: tuple[str, ...]
    subject_id: str
    filter: str
    author: str
    created_at: datetime
    release_reason: str = ""
    released_at: datetime | None = None

    @property
    def resource(self) -> str:
        """The name that the audit log has."""
        return f"legal-holds/{self.legal_hold_id}"

    @property
    def released(self) -> bool:
        """Whether it has ended."""
        return self.released_at is not None

    def covers(self, collection: str) -> bool:
        """Tells whether records of the collection may be under it."""
        return not self.released and (not self.collections or collection in self.collections)

    def keeps(self, subject_id: str, collections: Iterable[str]) -> bool:
        """Tells whether it may keep records of a person, who has some in these collections.

        Its filter is not asked: where it could match, the person is not erased.
        """
        is_about = self.subject_id in ("", subject_id)
        return is_about and any(self.covers(collection) for collection in collections)

    def held_filter(self) -> str:
        """Returns the AIP-160 filter of the records that stay; empty matches all."""
        subject = f"subject_id = {quoted(self.subject_id)}" if self.subject_id else ""
        return " AND ".join(
            part for part in (subject, f"({self.filter})" if self.filter else "") if part
        )


@dataclass(frozen=True, slots=True)
class RetentionStep:
    """One policy's part of a removal, as the policy was when it began."""

    service: str
    policy_id: str
    collection: str
    filter: str
    before_at: datetime
    place: int = 0
    is_removing: bool = False
    is_done: bool = False
    legal_hold_ids: tuple[str, ...] = ()
    record_count: int = 0
    held_count: int = 0


@dataclass(frozen=True, slots=True)
class RetentionRun:
    """A removal of what is past its time, or its counting."""

    tenant_id: str
    run_id: str
    state: RunState
    dry_run: bool
    author: str
    created_at: datetime
    updated_at: datetime
    message: str = ""
    error: str = ""
    evidence_hash: str = ""
    ended_at: datetime | None = None

    @property
    def resource(self) -> str:
        """The name that the audit log has."""
        return f"retention-runs/{self.run_id}"

    @property
    def has_ended(self) -> bool:
        """Whether nothing more will happen."""
        return self.state in (RunState.SUCCEEDED, RunState.FAILED)


def in_force(holds: Collection[LegalHold], collection: str) -> list[LegalHold]:
    """Returns the holds that cover a collection."""
    return [hold for hold in holds if hold.covers(collection)]


def evidence_hash(run: RetentionRun, steps: Sequence[RetentionStep]) -> str:
    """Returns SHA-256, hexadecimal, over what a removal did: canonical JSON of its parts."""
    content = {
        "run_id": run.run_id,
        "tenant_id": run.tenant_id,
        "dry_run": run.dry_run,
        "steps": [
            {
                "policy_id": step.policy_id,
                "collection": step.collection,
                "filter": step.filter,
                "before": step.before_at.isoformat(),
                "legal_holds": sorted(step.legal_hold_ids),
                "records": step.record_count,
                "held": step.held_count,
            }
            for step in steps
        ],
    }
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
