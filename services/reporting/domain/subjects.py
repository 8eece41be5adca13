"""Cases about a person: what is collected or erased of them, and how far that is."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum
from typing import Final

_DIGEST_BYTES: Final = 16  # 2^-64 that two of 2^32 persons share a pseudonym
PREFIX: Final = "erased-"


class CaseKind(IntEnum):
    """What was asked about a person; numbers as in the contract."""

    EXPORT = 1
    ERASURE = 2


class CaseState(IntEnum):
    """How far a case is; numbers as in the contract."""

    PENDING = 1
    RUNNING = 2
    SUCCEEDED = 3
    BLOCKED = 4
    FAILED = 5


class Stage(IntEnum):
    """How far one service is with a case."""

    PENDING = 0
    COUNTED = 1
    ERASED = 2
    CONFIRMED = 3


@dataclass(frozen=True, slots=True)
class RecordCount:
    """How many records of a collection an operation concerned, and how many a hold kept."""

    collection: str
    records: int
    held: int = 0


@dataclass(frozen=True, slots=True)
class SubjectStep:
    """One service's part of a case. found: before; changed: over all passes."""

    service: str
    place: int
    stage: Stage = Stage.PENDING
    passes: int = 0
    found: tuple[RecordCount, ...] = ()
    changed: tuple[RecordCount, ...] = ()


@dataclass(frozen=True, slots=True)
class SubjectCase:
    """A collection or an erasure. pseudonym: known from the first, shown once nobody is named.

    is_erasing: from here on there is no way back; the erasure is finished, whatever comes.
    """

    tenant_id: str
    subject_case_id: str
    kind: CaseKind
    state: CaseState
    pseudonym: str
    dry_run: bool
    reason: str
    author: str
    created_at: datetime
    updated_at: datetime
    is_erasing: bool = False
    message: str = ""
    error: str = ""
    content_hash: str = ""
    file_id: str = ""
    ended_at: datetime | None = None
    expires_at: datetime | None = None

    @property
    def resource(self) -> str:
        """The name that the audit log has."""
        return f"subject-cases/{self.subject_case_id}"

    @property
    def file_name(self) -> str:
        """What the file of a collection is called."""
        return f"subject-{self.subject_case_id}.zip"

    @property
    def key_name(self) -> str:
        """The data key that the person's id is sealed under, destroyed at the end."""
        return f"subject-case.{self.subject_case_id}"


def pseudonym_of(key: bytes, tenant_id: str, subject_id: str) -> str:
    """Returns what stands in place of a person: the same each time, and nobody's without the key.

    key: the tenant's own, of 32 random bytes.
    """
    # The tenant's length first, so that no other pair gives the same text.
    text = len(tenant_id).to_bytes(4) + tenant_id.encode() + subject_id.encode()
    digest = hmac.digest(key, text, hashlib.sha256)[:_DIGEST_BYTES]
    return PREFIX + base64.b32encode(digest).decode().rstrip("=").lower()


def total(counts: Iterable[RecordCount]) -> tuple[RecordCount, ...]:
    """Returns the counts with those of one collection added, by its name."""
    sums: dict[str, tuple[int, int]] = {}
    for each in counts:
        records, held = sums.get(each.collection, (0, 0))
        sums[each.collection] = (records + each.records, held + each.held)
    return tuple(RecordCount(name, *sums[name]) for name in sorted(sums))
