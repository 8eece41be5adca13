"""What a service keeps: declared as data, so that one engine can list, export, erase and trim it.

A column names a person in one of a few forms; whoever adds a column that may do so declares it, and
tests/<service>/test_records.py fails until then. The engine is records_keeping.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from types import MappingProxyType
from typing import Final, Protocol

from services.kernel.errors import InvalidArgument, NotFound
from services.kernel.transaction import Transaction

# Names under which JSON states, payloads and messages hold a person's id.
PERSON_FIELDS: Final = frozenset(
    {
        *("user_id", "user_ids", "subject_id", "subject", "manager_id", "member_id", "actor"),
        *("author", "approver", "created_by", "updated_by", "acknowledged_by", "resolved_by"),
        *("owner", "owners", "recipients", "recipient", "email", "email_addresses", "mail_to"),
        *("feedback_actor", "assignee", "requested_by", "create_subject", "contact_emails"),
    }
)
# Names of texts for people, and of filters, in which a person's id may be a word.
WORD_FIELDS: Final = frozenset(
    {"filter", "message", "note", "notes", "reason", "description", "error", "explanation", "title"}
)


class UnknownCollection(NotFound):
    """This service keeps no such collection; ListCollections names those it keeps."""

    reason = "UNKNOWN_RECORD_COLLECTION"


class CollectionKept(InvalidArgument):
    """Records of this collection are not removed by age; they go with what they belong to."""

    reason = "RECORD_COLLECTION_KEPT"


class RetentionTooShort(InvalidArgument):
    """The law asks to keep these records longer; choose an earlier instant."""

    reason = "RETENTION_TOO_SHORT"


class InvalidPseudonym(InvalidArgument):
    """A pseudonym has letters, digits, dots, dashes and underscores, and differs from the id."""

    reason = "INVALID_PSEUDONYM"


class Form(Enum):
    """How a column names a person."""

    ID = "the whole text is the id"
    LIST = "an array of texts, one of them the id"
    WORDS = "a text for people, or a filter, in which the id is a word"
    FIELDS = "JSON in which fields of PERSON_FIELDS hold the id"
    LABELS = "JSON whose keys are anybody's, so that any value may be the id"
    PAYLOAD = "JSON as bytes, as feeds and jobs have it, with FIELDS"
    TOLD = "JSON as bytes, in whose values the id is a word"


class Special(Protocol):
    """Erases what no column-by-column rewriting can."""

    async def count(self, tx: Transaction, tenant_id: str, subject_id: str) -> int:
        """Returns how many records name the person."""

    async def erase(self, tx: Transaction, tenant_id: str, subject_id: str, pseudonym: str) -> int:
        """Replaces the person, and returns in how many records."""

    def export(self, tx: Transaction, tenant_id: str, subject_id: str) -> AsyncIterator[str]:
        """Yields the person's records, each as a JSON object."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Collection:
    """One kind of records.

    table: without schema; "" where `special` alone knows. subjects: columns that name a person.
    blanked: columns of a record that are emptied where its ID column named the person.
    unique: the ID column is unique in the tenant, so that a record under the pseudonym replaces
    the old one. time: column of the instant at which a record has ended; "" where age removes
    nothing. needed: SQL condition, over the row `r`, of records that open state still needs.
    key, children: the key's name, and tables whose rows go with a record. days: without a policy;
    0 for ever. days_min: the law's. after_erasure: SQL over $1, the tenant, where records changed,
    so that what processes remember of them is read anew.
    """

    name: str
    table: str
    description: str
    subjects: Mapping[str, Form] = field(default_factory=lambda: MappingProxyType({}))
    blanked: tuple[str, ...] = ()
    unique: bool = False
    time: str = ""
    needed: str = ""
    key: str = ""
    children: tuple[str, ...] = ()
    days: int = 0
    days_min: int = 0
    tenant: str = "tenant_id"
    special: Special | None = None
    after_erasure: str = ""

    @property
    def personal(self) -> bool:
        """Whether records name a person."""
        return bool(self.subjects) or self.special is not None


Purpose = Callable[[Mapping[str, object]], str]


@dataclass(frozen=True, slots=True)
class Sealed:
    """A column of secrets under the tenant's data key. purpose: of a row, as it was sealed.

    keys: columns that tell rows apart.
    """

    table: str
    column: str
    keys: tuple[str, ...]
    purpose: Purpose
    key_name: str = ""


Forget = Callable[[str], Awaitable[None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Records:
    """All that one service keeps.

    exempt: `table.column` of texts that name no person although they might seem to, and why.
    forget: drops what the process and Redis remember of a tenant, after an erasure.
    """

    service: str
    collections: tuple[Collection, ...]
    exempt: Mapping[str, str]
    sealed: tuple[Sealed, ...] = ()
    forget: Forget | None = None

    def named(self, name: str) -> Collection:
        """Returns the collection of a name. Raises UnknownCollection."""
        for collection in self.collections:
            if collection.name == name:
                return collection
        raise UnknownCollection(collection=name)
